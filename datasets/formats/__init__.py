"""Files of recordings and images as others write them, read part by part."""
