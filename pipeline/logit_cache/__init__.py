"""The teacher answers once: its logits on K seeded views of every training image."""

from pipeline.logit_cache.key import CacheKey, cache_key, check_classes
from pipeline.logit_cache.opening import open_logit_cache, open_packed_views, read_cache
from pipeline.logit_cache.writing import write_empty_cache, write_logit_cache

__all__ = [
    "CacheKey",
    "cache_key",
    "check_classes",
    "open_logit_cache",
    "open_packed_views",
    "read_cache",
    "write_empty_cache",
    "write_logit_cache",
]
