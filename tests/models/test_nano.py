"""The encoder of the miniworld with strides that stop at 1/8."""

import torch

from mmseg_uda.models.backbones.nano import NanoBackbone


def test_strides_and_dilations_change_sizes_but_no_weights():
    torch.manual_seed(0)
    plain, dilated = NanoBackbone(), NanoBackbone(strides=(2, 2, 1, 1), dilations=(1, 1, 2, 4))
    dilated.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 64, 96)
    sizes = [[tuple(x.shape[1:]) for x in network(image)] for network in (plain, dilated)]
    assert sizes[0] == [(24, 16, 24), (48, 8, 12), (72, 4, 6), (96, 2, 3)]
    assert sizes[1] == [(24, 16, 24), (48, 8, 12), (72, 8, 12), (96, 8, 12)]
    first = [network.eval()(image)[0] for network in (plain, dilated)]
    assert torch.equal(*first)


def test_dilation_widens_the_view():
    torch.manual_seed(0)
    network = NanoBackbone(strides=(2, 2, 1, 1), dilations=(1, 1, 2, 4)).eval()
    image = torch.randn(1, 3, 64, 64, requires_grad=True)
    reach = []
    for stage in (1, 3):
        (grad,) = torch.autograd.grad(network(image)[stage][0, :, 4, 4].sum(), image)
        reach.append(int((grad.abs().sum((0, 1, 2)) > 0).sum()))
    assert reach[1] > reach[0]
