"""The page that goes with exported weights: what they are, what they were made from, how to use them."""

import json
from typing import Any

_CARD = """\
---
base_model: {base}
library_name: {library}
pipeline_tag: image-text-to-text
tags:
- addressvlm
- image-geolocalization
---

# {title}

It answers questions about the address of a street photo: {levels}. Trained on {city} by
[addressvlm](https://arxiv.org/abs/2508.10667), stage *{stage}*: {samples} conversations, {steps} steps,
{trained} of {parameters} weights, {precision}. It knows the streets of that city and of no other.

- **Base**: {base}
- **Attribution of photos and maps**: {attribution}
- **Licence**: that of the base model; {licence}
- **Not for**: finding persons. A photo tells more about its taker than its taker may know.

{use}

## How it was trained

```json
{config}
```
"""

_USE = {
    "adapter": """\
```python
from peft import PeftModel
from transformers import AutoModelForImageTextToText

base = AutoModelForImageTextToText.from_pretrained("{base}")
model = PeftModel.from_pretrained(base, "THIS_FOLDER").merge_and_unload()
```

The base must be exactly the one that the adapter was trained on; its digest is in the configuration.""",
    "merged": """\
```python
from transformers import AutoModelForImageTextToText, AutoProcessor

model = AutoModelForImageTextToText.from_pretrained("THIS_FOLDER")
processor = AutoProcessor.from_pretrained("THIS_FOLDER")
```""",
}


def model_card(config: dict[str, Any], summary: dict[str, Any], form: str, base: str) -> str:
    """The card of a run, by its `config.json` and `summary.json`."""
    levels = summary.get("levels", ["district", "street"])
    return _CARD.format(
        base=base,
        library="peft" if form == "adapter" else "transformers",
        title=f"AddressVLM, {summary.get('city', 'no city')}",
        levels=" and ".join(levels),
        city=summary.get("city", "no city"),
        stage=summary["stage"],
        samples=summary["samples"],
        steps=summary["steps"],
        trained=f"{summary['trained']:,}",
        parameters=f"{summary['parameters']:,}",
        precision=summary["precision"],
        attribution=summary.get("attribution") or "none was given",
        licence="what it learned from photos and maps carries their terms",
        use=_USE[form].replace("{base}", base),
        config=json.dumps(config, indent=2, ensure_ascii=False),
    )
