"""The training step of DACS, DAFormer, HRDA and MIC as formulas, with one backward per loss.

Written from the methods' descriptions, for square images and five classes. Of the code under test
it uses the encoder and the decoder of one scale alone; colours and blur come from other libraries.
"""

import copy
import math

import torch
import torch.nn.functional as F
from matplotlib.colors import hsv_to_rgb, rgb_to_hsv
from torchvision.transforms.functional import gaussian_blur

CLASSES = 5
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)


def up(x, size):
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def cross_entropy(logits, label, weight=None):
    """Over all pixels; unlabelled ones count 0."""
    log_p = up(logits, label.shape[-2:]).log_softmax(1)
    total = torch.zeros(())
    for c in range(CLASSES):
        here = (label == c).float() * (1 if weight is None else weight)
        total = total - (log_p[:, c] * here).sum()
    return total / label.numel()


def jitter(image, factors, order):
    """One normalised image; ``factors``: brightness, contrast, saturation around 1, hue shift."""
    x = (image * STD + MEAN) / 255
    for operation in order:
        factor = factors[operation]
        if operation == 0:
            x = (x + factor - 1).clamp(0, 1)
        elif operation == 1:
            x = (x * factor).clamp(0, 1)
        else:
            hsv = rgb_to_hsv(x.clamp(0, 1).permute(1, 2, 0).numpy())
            hsv[..., 1] *= hsv[..., 2] / (hsv[..., 2] + 1e-6)  # kornia divides by max + 1e-6
            if operation == 2:
                hsv[..., 1] = (hsv[..., 1] * factor).clip(0, 1)
            else:
                hsv[..., 0] = (hsv[..., 0] + factor) % 1
            x = torch.from_numpy(hsv_to_rgb(hsv)).permute(2, 0, 1).float()
    return (x * 255 - MEAN) / STD


def augment(images, draws):
    """Jitter, then blur; ``draws`` has one (factors, order, sigma) per image, or is None."""
    if draws is None:
        return images
    size = images.shape[-1]
    kernel = math.floor(math.ceil(0.1 * size) - 0.5 + math.ceil(0.1 * size) % 2)
    return torch.stack(
        [
            gaussian_blur(jitter(image, factors, order), [kernel] * 2, [sigma] * 2)
            for image, (factors, order, sigma) in zip(images, draws, strict=True)
        ]
    )


class HandStep:
    """Student, teachers and ImageNet network, and what one step does with them.

    ``options``: alpha, threshold, lr (ten times in the head), distance (weight), ratio, things,
    top, bottom (rows without weight), valid (mask or None), draws and masked_draws (of the
    augmentations), masking (the config of MIC, or {}).
    """

    def __init__(self, network, **options):
        self.student = copy.deepcopy(network)
        self.teacher = copy.deepcopy(network).requires_grad_(False)
        self.own = copy.deepcopy(self.teacher)
        self.imnet = copy.deepcopy(self.teacher).eval()
        self.is_hrda = hasattr(network, "hr_crop_size")
        self.__dict__.update(options)
        self.shares = []

    def predict(self, net, image):
        """[(key, logits, weight, rows)], [(last features, region that was encoded)]."""
        if not self.is_hrda:
            features = net.extract_feat(image)
            everything = slice(None)
            logits = net.decode_head(features)
            return [("decode", logits, 1.0, everything)], [(features[-1], lambda x: x)]
        head, crop, size = net.decode_head, net.hr_crop_size[0], image.shape[-1]
        stride = head.head.output_stride
        coarse = 2 * stride  # image pixels per pixel of the context logits
        offset = ((size - crop) // coarse + 1) // 2 * coarse  # the middle one
        rows = slice(offset, offset + crop)

        def context(x):
            return F.avg_pool2d(x, 2) if x.is_floating_point() else x

        def detail(x):
            return x[..., rows, rows]

        lr_features, hr_features = net.extract_feat(context(image)), net.extract_feat(detail(image))
        lr, hr = head.head(lr_features), head.head(hr_features)
        mask = torch.zeros(lr.shape[-2:])
        inside = slice(offset // coarse, (offset + crop) // coarse)
        mask[inside, inside] = 1
        attention = torch.sigmoid(head.scale_attention(lr_features)) * mask
        scaled = (1 - attention) * lr
        side = size // stride
        inserted = torch.zeros(len(image), CLASSES, side, side)
        inside = slice(offset // stride, (offset + crop) // stride)
        inserted[..., inside, inside] = hr
        fused = up(attention, (side, side)) * inserted + up(scaled, (side, side))
        h, low = head.hr_loss_weight, head.lr_loss_weight
        views = [("decode", fused, 1 - h - low, slice(None)), ("decode.hr", hr, h, rows)]
        if low:
            views.append(("decode.lr", scaled, low, slice(None)))
        features = [(lr_features[-1], context)]
        if net.feature_scale == "all":
            features.append((hr_features[-1], detail))
        return views, features

    def losses(self, views, label, weight=None, prefix="", factor=1.0):
        log = {}
        for key, logits, share, rows in views:
            part = None if weight is None else weight[:, rows, rows]
            value = cross_entropy(logits, label[:, rows, rows], part)
            log[f"{prefix}{key}.loss_seg"] = factor * share * value
        return log

    def feature_distance(self, features, image, label):
        total = torch.zeros((), requires_grad=True)
        for last, region in features:
            reference = self.imnet.extract_feat(region(image))[-1]
            seen = region(label)
            k = seen.shape[-1] // last.shape[-1]
            found = []
            for b in range(len(image)):
                for y in range(last.shape[2]):
                    for x in range(last.shape[3]):
                        cell = seen[b, y * k : (y + 1) * k, x * k : (x + 1) * k].flatten()
                        counts = torch.bincount(cell.where(cell < 255, CLASSES), minlength=6)
                        best = int(counts.argmax())
                        if best in self.things and counts[best] >= self.ratio * k * k:
                            found.append((last[b, :, y, x] - reference[b, :, y, x]).norm())
            if found:
                total = total + torch.stack(found).mean()
        return {"src.loss_imnet_feat_dist": self.distance * total}

    def full(self, net, image):
        """Logits at the image's resolution, detail crops sliding."""
        size = image.shape[-1]
        if not self.is_hrda:
            return up(net.decode_head(net.extract_feat(image)), (size, size))
        head, crop = net.decode_head, net.hr_crop_size[0]
        stride = head.head.output_stride
        features = net.extract_feat(F.avg_pool2d(image, 2))
        lr = head.head(features)
        jump = crop // 2 if net.hr_slide_overlapping else crop
        starts = range(0, size - crop + 1, jump)
        boxes = [(slice(y, y + crop), slice(x, x + crop)) for y in starts for x in starts]
        hr = head.head(net.extract_feat(torch.cat([image[..., r, c] for r, c in boxes])))
        attention = torch.sigmoid(head.scale_attention(features))
        side = size // stride
        total, count = torch.zeros(len(image), CLASSES, side, side), torch.zeros(side, side)
        for box, logits in zip(boxes, hr.chunk(len(boxes)), strict=True):
            rows, columns = (slice(s.start // stride, s.stop // stride) for s in box)
            total[..., rows, columns] += logits
            count[rows, columns] += 1
        fused = up(attention, (side, side)) * (total / count)
        fused = fused + up((1 - attention) * lr, (side, side))
        return up(fused, (size, size))

    def pseudo(self, net, image, threshold):
        p, label = self.full(net, image).softmax(1).max(1)
        share = 1.0 if threshold is None else (p >= threshold).sum() / p.numel()
        weight = torch.full(label.shape, float(share))
        weight[:, : self.top] = 0
        weight[:, label.shape[1] - self.bottom :] = 0
        return label, weight if self.valid is None else weight * self.valid

    def average(self, net, t, alpha):
        alpha = min(1 - 1 / (t + 1), alpha) if t else 0.0
        for mine, theirs in zip(net.parameters(), self.student.parameters(), strict=True):
            mine.data = alpha * mine.data + (1 - alpha) * theirs.data

    def step(self, t, x_s, y_s, x_t):
        """Gives the losses by name."""
        for net in (self.student, self.teacher, self.own):
            net.train()
        self.student.zero_grad()
        self.average(self.teacher, t, self.alpha)
        if "alpha" in self.masking:
            self.average(self.own, t, self.masking["alpha"])
        views, features = self.predict(self.student, x_s)
        log = {}

        def backward(losses, **options):
            sum(losses.values()).backward(**options)
            log.update({name: value.item() for name, value in losses.items()})

        backward(self.losses(views, y_s), retain_graph=True)
        backward(self.feature_distance(features, x_s, y_s))

        label, weight = self.pseudo(self.teacher, x_t, self.threshold)
        self.shares.append(weight.max().item())
        classes = y_s.unique(sorted=True)  # 255 is one of them
        m = torch.isin(y_s, classes[: math.ceil(len(classes) / 2)]).float()
        mixed = augment(m[:, None] * x_s + (1 - m[:, None]) * x_t, self.draws)
        mixed_label = (m * y_s + (1 - m) * label).long()
        views = self.predict(self.student, mixed)[0]
        backward(self.losses(views, mixed_label, m + (1 - m) * weight, "mix."))
        if self.masking:
            backward(self.masked(x_s, y_s, x_t, label, weight))
        with torch.no_grad():
            for name, p in self.student.named_parameters():
                if p.grad is not None:
                    p -= self.lr * (10 if "head" in name else 1) * p.grad
        return log

    def masked(self, x_s, y_s, x_t, label, weight):
        mode, edge = self.masking["mode"].removesuffix("aug"), self.masking["block_size"]
        if "alpha" in self.masking:
            label, weight = self.pseudo(self.own, x_t, self.masking["pseudo_threshold"])
        image = x_t
        if mode == "separatesrc":
            image, label, weight = x_s, y_s, None
        elif mode == "separate":
            image = torch.stack([x_s[0], x_t[0]])
            label = torch.stack([y_s[0], label[0]])
            weight = torch.stack([torch.ones_like(weight[0]), weight[0]])
        image = augment(image, self.masked_draws).clone()
        for i in range(image.shape[-1] // edge):
            for j in range(image.shape[-1] // edge):
                if (i + 2 * j) % 3:
                    image[..., i * edge : (i + 1) * edge, j * edge : (j + 1) * edge] = 0
        views = self.predict(self.student, image)[0]
        return self.losses(views, label, weight, "masked.", self.masking.get("loss_weight", 1.0))
