"""What a city or a data set holds, in figures and as one page."""
