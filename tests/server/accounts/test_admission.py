"""What one user can have under way at once."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from blobman.server.accounts.admission import Admission, TooMuchAtOnceError


class AdmissionTests(SynchronousTestCase):
    def test_each_user_by_itself(self) -> None:
        admission = Admission(2, 100)
        with admission.entered("alice"), admission.entered("alice"):
            with self.assertRaises(TooMuchAtOnceError), admission.entered("alice"):
                pass
            with admission.entered("bob"):
                pass
        with admission.entered("alice"):
            pass

    def test_what_is_held_for_each_user(self) -> None:
        admission = Admission(2, 100)
        with admission.holding("alice") as hold, admission.holding("alice") as hold_too:
            hold(60)
            self.assertRaises(TooMuchAtOnceError, hold_too, 41)
            hold_too(40)
            self.assertRaises(TooMuchAtOnceError, hold, 1)
            with admission.holding("bob") as hold_for_bob:
                hold_for_bob(100)
        with admission.holding("alice") as hold, admission.holding("alice") as hold_too:
            hold(101)
            self.assertRaises(TooMuchAtOnceError, hold_too, 1)
        with admission.holding("alice") as hold:
            hold(100)
