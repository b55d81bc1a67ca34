"""Images: folders, manifests and parquet of pictures; crops and colour changes as views; convolutional encoders."""

from nearfar.modalities.image.modality import MODALITY as MODALITY
