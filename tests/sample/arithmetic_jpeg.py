"""A JPEG in arithmetic coding, 160 x 120 px, which Pillow reads and cannot write.

Made by ``cjpeg -arithmetic -quality 75`` (libjpeg-turbo 2.1.5) of the gradient in `seen`.
"""

import base64

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 160, 120


def seen() -> NDArray[np.uint8]:
    """(HEIGHT, WIDTH, 3): red grows to the right, green downwards, blue with both."""
    down, across = np.mgrid[:HEIGHT, :WIDTH]
    both = (across + down) / (WIDTH + HEIGHT)
    return (255 * np.stack([across / WIDTH, down / HEIGHT, both], axis=-1)).astype(np.uint8)


BODY = base64.b64decode(
    """
    /9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwc
    KDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy
    MjIyMjIyMjIyMjIyMjIyMjIyMjL/yQARCAB4AKADASIAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/AMlF
    6Dju1TOZPq2PtZWB4zzonMT6BLIY+KgDIZ18QhG0NTT/AK5k3/NMy1JiB+JYlDWozOs9wUXUoBGour3LPc5eIfrd4wx9
    NtT/ABkItBkQEBiZmUnNvzz9/oWTjH7/AOiMDgACdkyRZpnNQ7I4d/NFqmAzwzQ2scOo6AExQlwCpF5JS/biZGYhry4Q
    mO3K0mZ0Adhq3fDOkQMrVzG59boDnndkG3w8sTrjjuWPePmTUqNe64y8Fu/+0Jvk8frXEZXOFh8//wB8aYyxfvleji5v
    7kP7mQgXxC0D8PXVa7XYdgC6VKh/RUro4jY8vCsiLe2g5BCd1y3HOQQnDqI8FDx3HDlgwBInCH5VBF9gubbcwPUSo9g0
    nIRoqwYASR+GxTREnL83fnKpjxgOG6ANEJvMEKlIMvOzu0QuOL/PZHZxy+/e4aV6JRb93hmbkuIBih+9VBWaUGTVIlUK
    6E6gEZgW1KhX7RtbvoSANU7uhAPP/RFRNEOei294IfgAcOBrO7kUVNnhd4jIGpb2u38z/JJVOVdv8whhpfp/ayTynB71
    u/KQ53S8Ehm6X4c9AQNvkE69sAF1uWKgF3IWkskjtDQz9vBnLDAr1zHfk8Pqz4K/6kfpybd6gdtysPypjZvGkFtV+2xJ
    RQrFzj//AI8jMf5TZktn/wAFR/vTFtwYeK7jsq1BhBvqh3mhEB7A+ARKZ0SihsGJpKTbyi/S+a4/dAMOYf0SWTUXazXk
    EYJ77gT/2Q==
    """
)
