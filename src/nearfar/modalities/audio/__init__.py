"""Sounds: files of any rate and length, as log-mel spectrograms."""

from nearfar.modalities.audio.modality import MODALITY as MODALITY
