"""What a place of accounts has to do, for a server and for an administrator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, gatherResults
from twisted.internet.threads import deferToThread
from zope.interface.verify import verifyObject

from ...server.accounts.interface import IAccounts, ITokens

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as Base
else:
    Base = object

AT_ONCE = 20


class AccountsContract(Base):
    """
    Mixed into a TestCase that sets ``accounts`` and ``tokens``, of the same place, which has not
    been used yet, or has no tokens.
    """

    accounts: IAccounts
    tokens: ITokens

    async def assert_good(self, user: str, *tokens: str) -> None:
        """Check tokens that are a user's."""
        for token in tokens:
            self.assertIs(await self.accounts.check(user, token), True)

    async def assert_bad(self, user: str, *tokens: str) -> None:
        """Check tokens that are not a user's."""
        for token in tokens:
            self.assertIs(await self.accounts.check(user, token), False)

    def test_interfaces(self) -> None:
        """It provides what it should."""
        verifyObject(IAccounts, self.accounts)
        verifyObject(ITokens, self.tokens)

    async def test_nobody(self) -> None:
        """Where there is no token, none is good."""
        self.assertEqual(self.tokens.list(), [])
        self.assertEqual(self.tokens.list("alice"), [])
        self.assertEqual(self.tokens.revoke("alice"), 0)
        await self.assert_bad("alice", "", "x")
        await self.assert_bad("", "", "x")

    async def test_every_token_of_a_user_is_good(self) -> None:
        """A user may have several."""
        made = [self.tokens.add("alice") for _ in range(3)]
        self.assertEqual(len(set(made)), 3)
        self.assertGreaterEqual(min(map(len, made)), 43)
        await self.assert_good("alice", *made)

    async def test_other_tokens_are_not(self) -> None:
        """What is somebody else's, or like a token, is refused."""
        made = self.tokens.add("alice", "phone")
        self.tokens.add("bob")
        [kept] = self.tokens.list("alice")
        similar = (made + "x", made[:-1], made.lower(), kept.digest, kept.token_id, "phone", "\0")
        await self.assert_bad("alice", "", *similar)
        for user in ("bob", "carol", "Alice", "alice\0", "", "\xe9", "%", "al_ce"):
            await self.assert_bad(user, made)

    async def test_changes_count_at_once(self) -> None:
        """A server follows with the next request."""
        first = self.tokens.add("alice")
        await self.assert_good("alice", first)
        second = self.tokens.add("alice")
        await self.assert_good("alice", first, second)
        self.tokens.revoke("alice", self.tokens.list("alice")[0].token_id)
        await self.assert_bad("alice", first)
        await self.assert_good("alice", second)
        self.tokens.revoke("alice")
        await self.assert_bad("alice", second)

    async def test_cancelling(self) -> None:
        """Whoever does not want to know any more is in nobody's way."""
        token = self.tokens.add("alice")
        checking = self.accounts.check("alice", token)
        other = self.accounts.check("alice", token)
        if not checking.called:
            checking.cancel()
            await self.assertFailure(checking, CancelledError)
        self.assertIs(await other, True)
        await self.assert_good("alice", token)

    def test_list(self) -> None:
        """Tokens are listed in the order in which they were made."""
        for user in ("bob", "alice", "carol", "alice"):
            self.tokens.add(user)
        self.assertEqual([it.user for it in self.tokens.list()], ["bob", "alice", "carol", "alice"])
        listed = self.tokens.list("alice")
        self.assertEqual(listed, [it for it in self.tokens.list() if it.user == "alice"])
        self.assertEqual(len({it.token_id for it in listed}), 2)
        self.assertLessEqual(listed[0].created, listed[1].created)

    def test_it_tells_no_hash(self) -> None:
        """A token's hash is not shown."""
        self.tokens.add("alice")
        self.assertNotIn(self.tokens.list()[0].digest, repr(self.tokens.list()))

    def test_revoke(self) -> None:
        """One token is forgotten, or all of a user's."""
        for user in ("alice", "bob", "alice", "alice"):
            self.tokens.add(user)
        first = self.tokens.list("alice")[0]
        self.assertEqual(self.tokens.revoke("bob", first.token_id), 0)
        self.assertEqual(self.tokens.revoke("alice", first.token_id), 1)
        self.assertEqual(self.tokens.revoke("alice", first.token_id), 0)
        self.assertEqual(self.tokens.revoke("alice"), 2)
        self.assertEqual([it.user for it in self.tokens.list()], ["bob"])

    def test_labels(self) -> None:
        """A label names one token of a user."""
        for user, label in (("alice", "phone"), ("alice", "Zo\xeb's laptop"), ("bob", "phone")):
            self.tokens.add(user, label)
        self.tokens.add("alice")
        self.assertEqual(
            [it.label for it in self.tokens.list("alice")], ["phone", "Zo\xeb's laptop", ""]
        )
        self.assertEqual(self.tokens.revoke("alice", "phone"), 1)
        self.assertEqual(self.tokens.revoke("alice", "phone"), 0)
        self.assertEqual(self.tokens.revoke("alice", ""), 0)
        self.assertEqual([it.label for it in self.tokens.list("bob")], ["phone"])
        self.tokens.add("alice", "phone")
        self.assertEqual(len(self.tokens.list("alice")), 3)

    def test_labels_that_are_none(self) -> None:
        """What can't be a label changes nothing."""
        self.tokens.add("alice", "phone")
        before = self.tokens.list()
        an_id = before[0].token_id
        for label in ("phone", an_id, "0" * 12, "a\nb", "\x1b[2J", " a", "a ", "-a", "x" * 65):
            with self.assertRaisesRegex(ValueError, "label|called"):
                self.tokens.add("alice", label)
        self.assertEqual(self.tokens.list(), before)
        self.tokens.add("alice", "x" * 64)

    def test_names_that_are_none(self) -> None:
        """What can't be a user's name changes nothing."""
        for user in ("", "a:b", "../x", "x" * 255):
            self.assertRaises(ValueError, self.tokens.add, user)
        self.assertEqual(self.tokens.list(), [])

    async def test_no_change_is_lost(self) -> None:
        """Several administrators may be at work."""
        self.tokens.add("bob", "phone")
        adding = [deferToThread(self.tokens.add, "alice") for _ in range(AT_ONCE)]
        removed = await deferToThread(self.tokens.revoke, "bob", "phone")
        await self.assert_good("alice", *await gatherResults(adding))
        self.assertEqual(removed, 1)
        self.assertEqual([it.user for it in self.tokens.list()], ["alice"] * AT_ONCE)
