from pathlib import Path

from addressvlm.dataset.tables import read_conversations
from addressvlm.experiments.synthetic import synthetic_dataset


def test_data_set_of_colours_can_be_trained_on(tmp_path: Path) -> None:
    data = synthetic_dataset(tmp_path / "data", photos=3, size_px=28)
    for stage, rounds in (("alignment", 1), ("localization", 7)):
        conversations = read_conversations(data, stage)
        assert [len(conversation.turns) for conversation in conversations] == [rounds] * 3
        assert all(image.is_file() for one in conversations for image in one.images)
