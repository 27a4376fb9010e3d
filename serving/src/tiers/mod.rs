//! Memory tiers in which KV caches of prompts wait to be used again.
