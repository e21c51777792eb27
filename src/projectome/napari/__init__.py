"""The plugin for napari: opens in it whatever projectome opens."""
