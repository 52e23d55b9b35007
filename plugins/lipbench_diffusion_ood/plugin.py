# SPDX-License-Identifier: Apache-2.0
"""What this plugin has: the task `ood_detection`, its backbones, lifts, detectors, metrics and reports."""

from __future__ import annotations

from collections.abc import Iterable

from lipbench.api import Component, Report, hookimpl

_HERE = "lipbench_diffusion_ood"
_TASK = "ood_detection"

_METRICS = {
    "ood_auroc": ("metrics:OODAuroc", "foreign against in-domain images"),
    "aupr": ("metrics:Aupr", "precision and recall, with foreign or in-domain images as the positive ones"),
    "fpr_at_tpr": ("metrics:FprAtTpr", "in-domain images flagged where 95 % of the foreign ones are found"),
    "evaluations": ("metrics:Evaluations", "evaluations of the network for one image"),
    "seconds": ("metrics:Seconds", "seconds for one image"),
    "class_pairs": ("diagnostics:ClassPairs", "the worst pair of an in-domain and a foreign class"),
    "score_drift": ("diagnostics:ScoreDrift", "how far in-domain scores follow brightness or complexity"),
    "reconstructions": ("pictures:Reconstructions", "error of the reconstructions, and a sheet to look at"),
    "denoising_loss": ("pictures:DenoisingLoss", "loss of the diffusion model, its curve, and a sheet of samples"),
}
_BACKBONES = {
    "diffusion_unet": ("unet:DiffusionUNet", "diffusion model, a U-Net that predicts the noise"),
    "gaussian_exact": ("exact:GaussianExact", "the exact diffusion model of Gaussian images"),
    "autoencoder": ("autoencoder:Autoencoder", "convolutional autoencoder"),
    "vae": ("vae:Vae", "variational autoencoder"),
    "gan": ("gan:Gan", "small generative adversarial network"),
    "masked_autoencoder": ("masked:MaskedAutoencoder", "convolutions that learned to fill in masked pixels"),
    "self_supervised": ("features:SelfSupervised", "convolutions that learned to tell rotations and flips"),
    "pretrained_features": ("pretrained:PretrainedFeatures", "a network of yours that was trained elsewhere"),
    "random_features": ("features:RandomFeatures", "convolutions with random weights"),
    "no_backbone": ("none:NoBackbone", "nothing, for detectors that learn from the images alone"),
}
_LIFTS = {
    "inpaint": ("lifts:Inpaint", "mask part of an image and let the diffusion model fill it in"),
    "denoise_from": ("lifts:DenoiseFrom", "diffuse an image to a level of noise and denoise it again"),
    "fill_in": ("fill:FillIn", "mask part of an image and let a network fill it in that was trained for just that"),
    "probability_flow": ("flow:ProbabilityFlow", "carry an image into noise, with its log density on the way"),
    "no_lift": ("lifts:NoLift", "nothing, for detectors that read the images alone"),
}
_DETECTORS = {
    "lmd": ("lmd:LiftMapDetect", "distance of an image from its reconstructions"),
    "likelihood": ("likelihoods:Likelihood", "bits by the probability-flow ODE"),
    "typicality": ("likelihoods:Typicality", "how far the likelihood is from that of in-domain images, either way"),
    "input_complexity": ("likelihoods:InputComplexity", "bits of the model less bits of a lossless compressor"),
    "eps_mse": ("denoising:NoiseError", "error of the predicted noise over levels"),
    "multi_t": ("denoising:MultiLevel", "errors of denoising from several levels, standardised and summed"),
    "path_statistics": ("paths:PathStatistics", "density of statistics along the deterministic path"),
    "mahalanobis": ("features:Mahalanobis", "distance from the in-domain mean, of features or pixels"),
    "knn": ("features:NearestNeighbors", "distance to the nearest in-domain images, of features or pixels"),
    "ae_mse": ("autoencoder:AeMse", "reconstruction error of an autoencoder"),
    "ae_mahalanobis": ("autoencoder:AeMahalanobis", "reconstruction error and distance of the code"),
    "likelihood_regret": ("regret:LikelihoodRegret", "what a VAE gains by fitting its posterior to one image"),
    "anogan": ("anogan:AnoGan", "distance to the nearest image that a GAN makes"),
    "pca_mse": ("controls:PrincipalComponents", "control: error of a linear reconstruction"),
    "mean_intensity": ("controls:MeanIntensity", "control: mean of the pixels"),
}


@hookimpl
def lipbench_components() -> Iterable[Component]:
    """The components of the suite."""
    yield Component(
        kind="task",
        name=_TASK,
        factory=f"{_HERE}.task:OODDetection",
        summary="which images come from elsewhere, without labels",
    )
    for name, (place, summary) in _METRICS.items():
        yield Component(kind="metric", name=name, factory=f"{_HERE}.{place}", summary=summary)
    for name, (place, summary) in _BACKBONES.items():
        yield Component(kind="model", name=name, factory=f"{_HERE}.models.{place}", summary=summary, tags=("backbone",))
    for name, (place, summary) in _LIFTS.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.{place}", summary=summary, tags=("lift",))
    for name, (place, summary) in _DETECTORS.items():
        yield Component(kind="method", name=name, factory=f"{_HERE}.detectors.{place}", summary=summary, tags=("detector",))


@hookimpl
def lipbench_reports() -> Iterable[Report]:
    """The audit, tables and plots."""
    for kind, name, summary in (
        ("audit", "sanity", "values that cannot all be right: shares, a set against itself, equal detectors, evaluations"),
        ("table", "findings", "what a reader must know before believing the method, with the figures behind it"),
        ("table", "matrix", "AUROC of every detector on every pair, with mean, worst pair and mean rank"),
        ("plot", "auroc_matrix", "detectors by pairs in colours, white at chance"),
        ("plot", "score_histograms", "what LMD, the best baseline and the best control say of in-domain and foreign images"),
        ("plot", "attempts_curve", "AUROC against the attempts LMD uses, for each distance"),
        ("plot", "cost_curve", "LMD's AUROC against evaluations of the network, for each sampler"),
        ("plot", "class_pairs", "AUROC of each pair of an in-domain and a foreign class"),
        ("plot", "training", "loss curves of the diffusion models, and images that they draw"),
        ("plot", "sheets", "images, what the lift leaves of them, and their reconstructions"),
    ):
        yield Report(kind=kind, name=name, task=_TASK, factory=f"{_HERE}.reports.{name}:{name}", summary=summary)  # type: ignore[arg-type]
