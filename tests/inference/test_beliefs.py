from collections import Counter
from pathlib import Path

import numpy as np
import torch

from addressvlm.dataset.questions import plain_questions
from addressvlm.inference.localizer import Localizer
from addressvlm.inference.prompts import Sight, normalised, sight
from addressvlm.model.backbone import Backbone
from addressvlm.model.conversation import encode_text


@torch.inference_mode()
def sampled(backbone: Backbone, seen: Sight, samples: int, temperature: float, most: int) -> Counter[str]:
    """Texts of `samples` answers, drawn token by token; those that agree so far are drawn together."""
    chance = torch.Generator().manual_seed(0)
    images = normalised(seen.pixels, backbone)
    growing, texts = {(): samples}, Counter[str]()
    for _ in range(most):
        beginnings = list(growing)
        ids = torch.tensor([[*seen.prompts[0], *beginning] for beginning in beginnings])
        logits = backbone.model(input_ids=ids, pixel_values=images.expand(len(ids), -1, -1, -1)).logits[:, -1]
        longer: dict[tuple[int, ...], int] = {}
        for beginning, probable in zip(beginnings, (logits / temperature).softmax(-1), strict=True):
            drawn = torch.multinomial(probable, growing[beginning], replacement=True, generator=chance)
            for token, count in Counter(drawn.tolist()).items():
                if token in backbone.end_ids:
                    texts[backbone.tokenizer.decode(beginning).strip()] += count
                else:
                    longer[(*beginning, token)] = count
        growing = longer
    return texts


def test_a_hundred_thousand_samples_spread_as_the_distribution_says(
    taught: Backbone, run: Path, photos: list[Path]
) -> None:
    localizer = Localizer(taught, run)
    samples, temperature = 100_000, 0.8
    longest = max(len(encode_text(taught.tokenizer, name)) for name in localizer.names.streets)
    question = plain_questions(localizer.levels)["street"]
    seen = sight((photos[0],), [question], taught, 64)
    counts = sampled(taught, seen, samples, temperature, longest + 1)
    streets = zip(localizer.names.streets, localizer.names.spellings["street"], strict=True)
    found = np.array([sum(counts[text] for text in texts) for _, texts in streets]) / samples
    expected = np.exp(localizer.distribution(photos[0], question, "street", temperature=temperature))
    assert 0.1 < expected.max() < 0.9
    assert 0.5 < expected.sum() < 0.999
    noise = np.sqrt(expected * (1 - expected) / samples)
    assert (np.abs(found - expected) < 4 * noise).all()
