"""A BMC of pyghmi's: argument 1 is its UDP port. Answers 0xd5 to a cycle while off, obeys a soft power-off late, as many BMCs do."""
import sys
import threading

from pyghmi.ipmi import bmc


class Bmc(bmc.Bmc):
    power = "on"

    def get_power_state(self):
        return self.power

    def set(self, power):
        self.power = power

    def power_on(self):
        self.set("on")

    def power_off(self):
        self.set("off")

    def power_cycle(self):
        if self.power == "off":
            return 0xD5
        self.set("on")

    def power_reset(self):
        return self.power_cycle()

    def power_shutdown(self):
        threading.Timer(1.0, self.set, ["off"]).start()


Bmc({"ADMIN": "secret12"}, port=int(sys.argv[1]), address="127.0.0.1").listen()
