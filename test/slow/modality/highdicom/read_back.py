"""Reads results of the gateway with highdicom, and prints what it finds as one line of JSON for each file."""

import json
import sys

import highdicom as hd
import numpy as np
from pydicom import dcmread


def segmentation(path):
    seg = hd.seg.segread(path)
    source = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID
    images = [
        group.DerivationImageSequence[0].SourceImageSequence[0] for group in seg.PerFrameFunctionalGroupsSequence
    ]
    frames = [int(image.ReferencedFrameNumber) for image in images if "ReferencedFrameNumber" in image]
    if frames:
        pixels = seg.get_pixels_by_source_frame(source, frames, combine_segments=True)
    else:
        pixels = seg.get_pixels_by_source_instance([source], combine_segments=True)
    spacing = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
    return {
        "segments": [seg.get_segment_description(number).segment_label for number in seg.segment_numbers],
        "algorithm": seg.get_segment_description(1).algorithm_type.value,
        "frames": frames,
        "shape": list(pixels.shape),
        "set": [[int(row), int(column)] for row, column in np.argwhere(pixels[0])[[0, -1]]],
        "count": int(pixels.sum()),
        "spacing": [float(each) for each in spacing],
    }


def report(path):
    sr = hd.sr.srread(path)
    groups = sr.content.get_planar_roi_measurement_groups()
    return {
        "template": type(sr).__name__,
        "groups": [group.tracking_identifier for group in groups],
        "regions": [group.roi.value.tolist() for group in groups],
        "scores": [
            [measurement.name.value, measurement.value]
            for group in groups
            for measurement in group.get_measurements()
        ],
    }


for name in sys.argv[1:]:
    read = segmentation if dcmread(name, stop_before_pixels=True).Modality == "SEG" else report
    print(json.dumps(read(name)))
