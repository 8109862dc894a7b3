"""Boards in a folder: what /sys, /proc and /etc of real machines hold, as far as it is read."""

from __future__ import annotations

from pathlib import Path

MEMINFO = """\
MemTotal:        8052620 kB
MemFree:         5000000 kB
MemAvailable:    6938592 kB
SwapTotal:             0 kB
"""
COMMON = {
    "proc/meminfo": MEMINFO,
    "proc/uptime": "512.60 1033.12\n",
    "proc/loadavg": "1.70 0.91 0.40 2/310 1234\n",
    "proc/self/status": "Name:\tpython3\nVmPeak:\t  300000 kB\nVmRSS:\t  179200 kB\n",
    "proc/sys/kernel/osrelease": "6.6.51+rpt-rpi-2712\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\n',
    "sys/fs/ext4/mmcblk0p2/errors_count": "0\n",
    **{f"sys/devices/system/cpu/cpu{n}/online": "1\n" for n in range(4)},
    "sys/devices/system/cpu/cpufreq/policy0": "",
}
PI_4 = COMMON | {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "71326\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "critical\n",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "110000\n",
    "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device0/cur_state": "0\n",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
}
PI_5 = {
    name.replace("platform/soc/soc:firmware", "platform/soc@107c000000/soc@107c000000:firmware"): text
    for name, text in PI_4.items()
} | {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
CM4 = PI_4 | {
    "proc/device-tree/model": "Raspberry Pi Compute Module 4 Rev 1.1\0",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    "sys/block/mmcblk0/device/life_time": "0x01 0x03\n",
    "sys/block/mmcblk0/device/pre_eol_info": "0x01\n",
}
JETSON = COMMON | {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "54250\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",  # switched off: its temp cannot be read
    "sys/class/thermal/thermal_zone2/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone2/temp": "100000\n",
    "sys/class/thermal/cooling_device3/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device3/cur_state": "2\n",
    "sys/class/hwmon/hwmon2/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "4\n",
    "sys/block/mmcblk0/device/life_time": "0x0b 0x00\n",
    "sys/block/mmcblk0/device/pre_eol_info": "0x02\n",
}


def write_board(root: Path, files: dict[str, str]) -> Path:
    """Make the folder."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root
