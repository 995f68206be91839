"""SAM2Act and SAM2Act+: keyframes from RGB-D through virtual views, with and without memory."""
