"""The two types of magnum that the worker of a remote simulator uses."""


class Vector3:
    def __init__(self, x, y, z):
        self.xyz = (float(x), float(y), float(z))

    def __iter__(self):
        return iter(self.xyz)


class Quaternion:
    def __init__(self, vector, scalar):
        self.vector, self.scalar = vector, float(scalar)
