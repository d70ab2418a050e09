"""Drawing text from the Torch model, to look at while it learns and to prove graphs on."""

import torch
from torch import Tensor

from charlm.train.model import CharLSTM


@torch.no_grad()
def sample_tokens(
    model: CharLSTM, first: Tensor, length: int, seed: int, temperature: float = 1.0
) -> Tensor:
    """Draw `length` tokens, from a zero state and a given first token.

    This is for looking and for proofs: sampling as users see it is defined once, in
    `charlm.infer.sampler`.

    Args:
        model: evaluated one step at a time, without dropout.
        first: ids, int64 of shape [batch].
        length: tokens to draw after the first.
        seed: of the draws, which touch no other random state.
        temperature: above 0.

    Returns:
        Ids, int64 of shape [length + 1, batch], the first token included.
    """
    generator = torch.Generator().manual_seed(seed)
    token = first
    state = model.zero_state(len(first))
    tokens = [first]
    for _ in range(length):
        logits, state = model.step(token, state)
        probabilities = (logits / temperature).softmax(dim=1).cpu()
        token = torch.multinomial(probabilities, 1, generator=generator)[:, 0].to(first.device)
        tokens.append(token)
    return torch.stack(tokens)
