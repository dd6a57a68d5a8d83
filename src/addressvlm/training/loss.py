"""The loss of a batch of conversations: cross-entropy over the answers, computing no more than it needs."""

from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from addressvlm.model.conversation import IGNORED
from addressvlm.model.embedding import embedded, has_known_tower, projected, tower_features
from addressvlm.model.fusedlora import fuse_adapters
from addressvlm.model.pictures import picture_inputs
from addressvlm.model.preprocessing import Preprocessing
from addressvlm.training.attention import use_plain_attention
from addressvlm.training.packing import kernel_is_right, packing
from addressvlm.training.quicklayers import ends_with_wanted, head_width_in_rows, use_quick_layers


class AnswerLoss(nn.Module):
    """A model as a function from a batch to its loss, so that it can be wrapped for many devices.

    Output head and last layer give an outcome for labelled positions only; with a text of 200 tokens and
    answers of 20 that spares most of their work. Logits and loss are float32. The model's layers are replaced
    by quick ones, for good; on a GPU that computes in bfloat16, frozen weights are kept in it and nothing is
    cast on the way.
    """

    accepts_loss_kwargs = True  # tells Trainer to count the labels of all micro-batches of a step

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        preprocessing: Preprocessing,
        *,
        bf16: bool,
        halve: bool | None = None,
        pack: bool | None = None,
        sharded: bool = False,
    ):
        """`halve` keeps frozen weights in bfloat16; left out: on a GPU that computes in it.

        `pack` puts chains one behind the other instead of padding them; left out: in bfloat16 on a GPU that
        has a kernel for it.
        `sharded` says that the weights will be sharded over processes.
        """
        super().__init__()
        use_quick_layers(model)
        self.packs = _can_pack(model, bf16=bf16) if pack is None else pack
        if self.packs or not torch.cuda.is_available():
            use_plain_attention(model)  # for which Transformers makes no masks
        adapters = sum(isinstance(module, LoraLayer) for module in model.modules())
        fused = 0 < adapters == fuse_adapters(model, sharded=sharded)
        self.model = model
        self.sharded = sharded
        self.preprocessing = preprocessing
        self.halved = bf16 and fused and (torch.cuda.is_available() if halve is None else halve)
        self.bf16 = bf16 and not self.halved  # otherwise by autocast
        if self.halved:
            for weight in model.parameters():
                if not weight.requires_grad:
                    weight.data = weight.data.to(torch.bfloat16)

    @property
    def base(self) -> Any:
        """The model without the wrapper of its adapters, which stay in its layers."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    def features_of(self, pixels: torch.Tensor) -> torch.Tensor:
        """What a known tower makes of pictures, as `forward` would, (pictures, picture tokens, width)."""
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            return tower_features(self.base, self.preprocessing.normalise(pixels))

    def forward(
        self,
        input_ids: torch.Tensor,  # (batch, tokens), padded on the right
        labels: torch.Tensor,  # (batch, tokens), IGNORED where nothing is learned
        pixels: torch.Tensor | None = None,  # (pictures, 3, size, size) uint8
        features: torch.Tensor | None = None,  # instead of pixels: what `features_of` makes of them
        mask: torch.Tensor | None = None,  # (batch, 1, tokens, tokens), True where a token (row) sees another
        position_ids: torch.Tensor | None = None,  # (batch, tokens)
        num_items_in_batch: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """`loss`: the mean over the labels, or their sum over `num_items_in_batch`.

        Chains need neither mask nor positions: padding lies on the right, where no earlier token looks.
        """
        base = self.base
        targets = functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
        # Sharded weights are whole for a moment; autocast's cache would keep copies of all of them.
        keeps = not self.sharded
        with torch.autocast(
            input_ids.device.type, dtype=torch.bfloat16, enabled=self.bf16, cache_enabled=keeps
        ):
            structure = {"attention_mask": mask, "position_ids": position_ids, "use_cache": False}
            if has_known_tower(base):
                seen = features
                if seen is None:
                    assert pixels is not None, "a batch has pictures, or what a tower made of them"
                    seen = tower_features(base, self.preprocessing.normalise(pixels))
                inputs = embedded(base, input_ids, projected(base, seen))
                if self.packs and mask is None:
                    together = packing(input_ids, labels, base.config.image_token_id)
                    inputs, targets = together.packed(inputs), together.packed(targets)
                    structure |= together.structure()
                language_model = base.base_model.language_model
                if ends_with_wanted(language_model):
                    structure["wanted"] = targets != IGNORED
                read = language_model(inputs_embeds=inputs, **structure)
            else:
                assert pixels is not None, "features are those of known towers"
                pictures = picture_inputs(base.config, self.preprocessing.normalise(pixels))
                read = base.base_model(input_ids=input_ids, **pictures, **structure)
            learned = targets != IGNORED
            hidden = read.last_hidden_state
            of_learned = hidden[0] if "wanted" in structure else hidden[learned]
            logits = base.get_output_embeddings()(of_learned)  # (labels, vocabulary)
        total = functional.cross_entropy(logits.float(), targets[learned], reduction="sum")
        count = learned.sum() if num_items_in_batch is None else num_items_in_batch
        return {"loss": total / count}


def _can_pack(model: PreTrainedModel | PeftModel, *, bf16: bool) -> bool:
    """Whether chains can be packed: the layers know rows, and so does this GPU."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    if not (bf16 and has_known_tower(base)):
        return False
    head_width = head_width_in_rows(base.base_model.language_model)
    return head_width is not None and kernel_is_right(head_width)
