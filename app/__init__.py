"""What happens to frames: from a camera or a file, through an engine, to a window or a recording."""

import os

# OpenCV waits ten seconds for a camera that has gone silent, and reads this when it is imported.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "3")
# Its own complaints about a device that is not there would come before our message.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
