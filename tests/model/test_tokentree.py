import numpy as np
import pytest

from addressvlm.model.tokentree import TokenTree


def test_a_chain_is_causal_attention() -> None:
    tree = TokenTree([7, 8, 9], [-1, 0, 1])
    assert tree.is_chain
    assert (tree.mask == np.tril(np.ones((3, 3), bool))).all()
    assert tree.positions.tolist() == [0, 1, 2]


def test_branches_of_a_star_see_the_stem_and_themselves() -> None:
    tree = TokenTree([1, 2, 30, 31, 40, 41], [-1, 0, 1, 2, 1, 4])
    assert not tree.is_chain
    assert tree.positions.tolist() == [0, 1, 2, 3, 2, 3]
    assert tree.mask.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ]


def test_a_twig_of_a_twig_sees_its_whole_line() -> None:
    tree = TokenTree([1, 2, 3, 4, 5], [-1, 0, 1, 1, 2])
    assert [np.flatnonzero(row).tolist() for row in tree.mask] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 3],
        [0, 1, 2, 4],
    ]


@pytest.mark.parametrize("parents", [[0], [-1, 2, 0], [-1]])
def test_a_parent_that_comes_later_is_our_own_mistake(parents: list[int]) -> None:
    with pytest.raises(AssertionError):
        TokenTree([0] * max(2, len(parents)), parents)


def test_paths_share_what_they_begin_with() -> None:
    tree, ends = TokenTree.of_paths([[5, 6, 7], [5, 6], [5, 8], [5, 6, 7], [9]])
    assert list(tree.ids) == [5, 6, 7, 8, 9]
    assert list(tree.parents) == [-1, 0, 1, 0, -1]
    assert ends == [2, 1, 3, 2, 4]
