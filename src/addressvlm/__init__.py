"""Tell the address (district and street) of a street photo: an open implementation of AddressVLM."""

__version__ = "0.1.0"
