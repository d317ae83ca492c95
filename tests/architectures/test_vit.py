"""The vision transformer: the published network, and laws of attention."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from coursepkg.architectures.vit import Encoder, EncoderBlock, VisionTransformer, mlp, vit_b_16


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def small(**settings):
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=24,
        patch_size=8,
        depth=2,
        dim=8,
        num_heads=2,
        hidden_dim=16,
        num_classes=5,
        **settings,
    ).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def test_counts_and_names_are_the_published_ones():
    with torch.device("meta"):
        model = vit_b_16()
    names = list(model.state_dict())
    assert (sum(p.numel() for p in model.parameters()), len(names)) == (86567656, 152)
    first = "encoder.layers.encoder_layer_0."
    assert names[:16] == [
        "class_token",
        "conv_proj.weight",
        "conv_proj.bias",
        "encoder.pos_embedding",
        *[first + n for n in ("ln_1.weight", "ln_1.bias")],
        *[first + f"self_attention.{n}" for n in ("in_proj_weight", "in_proj_bias")],
        *[first + f"self_attention.out_proj.{n}" for n in ("weight", "bias")],
        *[first + n for n in ("ln_2.weight", "ln_2.bias")],
        *[first + f"mlp.{i}.{n}" for i in (0, 3) for n in ("weight", "bias")],
    ]
    assert names[-4:] == [
        "encoder.ln.weight",
        "encoder.ln.bias",
        "heads.head.weight",
        "heads.head.bias",
    ]
    assert model.encoder.pos_embedding.shape == (1, 197, 768)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.0}
    assert model.get_submodule(model.head_names[0]) is model.heads.head


def test_the_block_is_what_its_formula_says():
    torch.manual_seed(0)
    block = EncoderBlock(6, 2, 10).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter)
    input = images(2, 5, 6)
    attention = block.self_attention
    tokens = F.layer_norm(input, (6,), block.ln_1.weight, block.ln_1.bias, 1e-6)
    three = tokens @ attention.in_proj_weight.T + attention.in_proj_bias  # (N, L, 3*D)
    q, k, v = (part.unflatten(2, (2, 3)) for part in three.split(6, dim=2))  # (N, L, H, D/H)
    weights = torch.einsum("nlhd,nmhd->nhlm", q, k).div(3**0.5).softmax(3)
    mixed = torch.einsum("nhlm,nmhd->nlhd", weights, v).flatten(2)
    after = input + mixed @ attention.out_proj.weight.T + attention.out_proj.bias
    tokens = F.layer_norm(after, (6,), block.ln_2.weight, block.ln_2.bias, 1e-6)
    hidden = tokens @ block.mlp[0].weight.T + block.mlp[0].bias
    hidden = hidden * torch.special.ndtr(hidden)  # GELU
    assert_close(block(input), after + hidden @ block.mlp[3].weight.T + block.mlp[3].bias)


def test_attention_does_not_know_the_order_of_the_tokens():
    block = EncoderBlock(8, 2, 16).double()
    input, order = images(2, 7, 8), torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert_close(block(input[:, order]), block(input)[:, order])


def test_the_position_embedding_tells_places_apart():
    torch.manual_seed(0)
    encoder = Encoder(7, 1, 8, 2, 16).double()
    nn.init.normal_(encoder.pos_embedding)
    input, order = images(2, 7, 8), torch.randperm(7, generator=torch.Generator().manual_seed(0))
    assert (encoder(input[:, order]) - encoder(input)[:, order]).abs().max() > 0.1
    nn.init.zeros_(encoder.pos_embedding)
    assert_close(encoder(input[:, order]), encoder(input)[:, order])


def test_tokens_are_patches_in_reading_order_after_the_class():
    model = small().eval()
    tokens = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
    input = images(2, 3, 24, 24)
    model(input)
    assert tokens[0].shape == (2, 10, 8)
    assert_close(tokens[0][:, :1], model.class_token.expand(2, 1, 8))
    patch = input[:, :, 8:16, 16:24].flatten(1)  # row 1, column 2
    weight = model.conv_proj.weight.flatten(1)
    assert_close(tokens[0][:, 1 + 5], patch @ weight.T + model.conv_proj.bias)


def test_scores_are_read_from_the_class_token():
    model = small().eval()
    input = images(2, 3, 24, 24)
    tokens = model.forward_features(input)
    assert tokens.shape == (2, 10, 8)
    assert_close(model(input), model.heads.head(tokens[:, 0]))


def test_without_position_embedding_shuffled_patches_give_the_same_scores():
    model = small().eval()
    nn.init.normal_(model.encoder.pos_embedding, std=3)
    input = images(1, 3, 24, 24)
    swapped = input.clone()
    swapped[..., :8, :8], swapped[..., 16:, 8:16] = input[..., 16:, 8:16], input[..., :8, :8]
    assert (model(input) - model(swapped)).abs().max() > 1e-4
    nn.init.zeros_(model.encoder.pos_embedding)
    assert_close(model(input), model(swapped))


def test_dropout_stands_after_embedding_attention_and_layers():
    model = small(dropout=0.25)
    dropouts = [name for name, m in model.named_modules() if isinstance(m, nn.Dropout)]
    first = "encoder.layers.encoder_layer_"
    assert dropouts == [
        "encoder.dropout",
        *[f"{first}{i}.{n}" for i in (0, 1) for n in ("dropout", "mlp.2", "mlp.4")],
    ]
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.25}
    torch.manual_seed(0)
    first, second = model(images(1, 3, 24, 24)), model(images(1, 3, 24, 24))
    assert not torch.equal(first, second)


def test_with_everything_dropped_a_block_is_the_identity():
    input = images(2, 5, 8)
    block = EncoderBlock(8, 2, 16, dropout=1.0).double()
    assert torch.equal(block(input), input)
    assert not torch.equal(block.eval()(input), input)


def test_the_encoder_ends_with_a_normalisation():
    torch.manual_seed(0)
    tokens = Encoder(5, 1, 8, 2, 16).double()(images(2, 5, 8))
    assert_close(tokens.mean(2), torch.zeros(2, 5, dtype=torch.float64))
    assert_close(
        tokens.var(2, correction=0), torch.ones(2, 5, dtype=torch.float64), rtol=1e-4, atol=0
    )


def test_the_gradient_of_the_block_is_that_of_central_differences():
    torch.manual_seed(0)
    block = EncoderBlock(4, 2, 6).double()
    assert torch.autograd.gradcheck(block, images(1, 3, 4).requires_grad_())


def test_first_weights_are_those_of_the_library():
    torch.manual_seed(0)
    model = VisionTransformer(depth=1, dim=96, num_heads=2, hidden_dim=200)
    assert_close(model.conv_proj.weight.std().item(), 768**-0.5, rtol=0.01, atol=0)
    assert_close(model.encoder.pos_embedding.std().item(), 0.02, rtol=0.02, atol=0)
    layer = model.encoder.layers.encoder_layer_0.mlp[0]
    limit = (6 / (96 + 200)) ** 0.5
    assert 0.999 * limit < layer.weight.abs().max() <= limit
    assert 0 < layer.bias.abs().max() < 1e-5
    for parameter in (model.class_token, model.conv_proj.bias, *model.heads.parameters()):
        assert not parameter.any()


def test_bad_arguments_are_named():
    wrong = [
        (lambda: mlp(0, 4), "dim=0 is too small"),
        (lambda: mlp(4, 0), "hidden_dim=0 is too small"),
        (lambda: EncoderBlock(8, 3, 4), "num_heads=3 does not divide dim=8; use a divisor"),
        (lambda: EncoderBlock(8, 0, 4), "num_heads=0 is too small"),
        (lambda: Encoder(0, 1, 8, 2, 4), "length=0 is too small"),
        (lambda: Encoder(4, 0, 8, 2, 4), "depth=0 is too small"),
        (lambda: VisionTransformer(224, 15), "patch_size=15 does not divide image_size=224"),
        (lambda: VisionTransformer(0), "image_size=0 is too small"),
        (lambda: vit_b_16(num_classes=0), "num_classes=0 is too small"),
        (
            lambda: small()(images(1, 3, 24, 32)),
            r"input has \(24, 32\) pixels but .* 24 x 24; resize",
        ),
    ]
    for call, message in wrong:
        with pytest.raises(ValueError, match=message):
            call()
