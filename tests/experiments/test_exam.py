from addressvlm.experiments.exam import _names_right


def test_names_left_out_and_names_made_up_both_count() -> None:
    truth = "Oak Street, Elm Street, Ash Street."
    assert _names_right(truth, "Elm Street, Ash Street, Oak Street.") == 1
    assert _names_right(truth, "Oak Street, Elm Street.") == 2 / 3
    assert _names_right(truth, "Oak Street, Elm Street, Ash Street, Fir Street.") == 3 / 4
    assert _names_right(truth, "Oak Street, Oak Street, Oak Street.") == 1 / 3
    assert _names_right(truth, "Nothing.") == 0
