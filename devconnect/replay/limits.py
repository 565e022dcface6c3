"""The limits that a gateway must have for a replay: a trace does in a minute what its people did in days."""

_MANY = "requests=10000/min messages=10000/min writes=10000/min reads=1000000/min feed=200"
#: Settings of the gateway: who replays is free, and a stranger while signing up.
LIMITS = {"LIMITS_FREE": _MANY, "LIMITS_STRANGERS": "1000000/min"}
#: What to do about answers of 429.
TOO_TIGHT = "start the gateway with " + " ".join(f'{name}="{value}"' for name, value in LIMITS.items())
