"""The logit cache: the teacher's logits for K seeded views of every training image."""

from pipeline.logit_cache.reader import (
    CacheInfo,
    CacheKey,
    cache_key,
    check_classes,
    open_logit_cache,
    open_packed_views,
    read_cache,
)
from pipeline.logit_cache.writer import CacheSource, write_empty_cache, write_logit_cache

__all__ = [
    "CacheInfo",
    "CacheKey",
    "CacheSource",
    "cache_key",
    "check_classes",
    "open_logit_cache",
    "open_packed_views",
    "read_cache",
    "write_empty_cache",
    "write_logit_cache",
]
