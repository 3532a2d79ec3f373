"""New names of the parameters and values that had another name in an earlier version."""

NEW_NAMES = {
    "compare": "compare.yaml, which `finch compare` reads",
    "scout": "scout.yaml, which `finch scout` reads",
    "distill.figkd.weight": "distill.figkd.detail_weight (the value stays the same)",
    "distill.figkd.kd_share": "distill.figkd.kd_weight (kd_weight = weight * kd_share)",
    "distill.figkd.normalisation": "distill.figkd.normalization",
    "distill.kd.standardised": "distill.kd.standardized",
    "distill.logit_mse.centred": "distill.logit_mse.centered",
    "recover": "qat",
    "quantize.ladder": "quantize.mixed_precision",
    "quantize.mixed_precision.mixed": "quantize.mixed_precision.enabled",
    "quantize.mixed_precision.largest_share": "quantize.mixed_precision.max_float_fraction",
    "evaluate.settled": "evaluate.max_half_width",
    "evaluate.minutes": "evaluate.max_minutes",
}
NEW_VALUES = {"aware": "qat", "centred": "centered", "standardised": "standardized"}
