"""The desk of a bank: accounts with a card each, transfers between them, and bills to pay.

Inputs: a state with the tables `accounts`, `bills`, `transfers` and `payments`. Outputs: the tools of `BankDesk`. The
paper (arXiv:2510.07841) has no environments.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ttsi.environments.simulators.simulator import Simulator, entry_name

Account = Literal["checking", "savings", "joint", "business"]


class BankDesk(Simulator):
    """Accounts of one customer; amounts in whole euros."""

    TOOLS: ClassVar[tuple[str, ...]] = (
        "show_balance",
        "move_money",
        "list_bills",
        "pay_bill",
        "set_card_limit",
        "lock_card",
    )
    accounts: dict[str, dict[str, Any]]
    """Name -> balance, the limit of its card, and whether the card is locked."""
    bills: dict[str, dict[str, Any]]
    """Biller -> amount and the day on which it is due."""
    transfers: list[list[Any]]
    """Source, target and amount, oldest first."""
    payments: list[list[Any]]
    """Biller, account and amount, oldest first."""

    def show_balance(self, account: Account) -> dict[str, Any]:
        """show the balance"""
        name = entry_name(self.accounts, account, "account")
        return {"account": name, "balance": self.accounts[name]["balance"]}

    def move_money(self, source: Account, target: Account, amount: int) -> str:
        """move money to another account"""
        giver, taker = (entry_name(self.accounts, account, "account") for account in (source, target))
        if giver == taker:
            raise ValueError("source and target are the same account")
        if [giver, taker, amount] in self.transfers:
            raise ValueError("this transfer was made already")
        self._withdraw(giver, amount)
        self.accounts[taker]["balance"] += amount
        self.transfers.append([giver, taker, amount])
        return f"moved {amount} to {taker}"

    def list_bills(self) -> list[dict[str, Any]]:
        """list all open bills"""
        return [{"biller": biller, **self.bills[biller]} for biller in sorted(self.bills)]

    def pay_bill(self, biller: str, account: Account) -> str:
        """pay a bill"""
        bill = entry_name(self.bills, biller, "bill of")
        name = entry_name(self.accounts, account, "account")
        self._withdraw(name, self.bills[bill]["amount"])
        self.payments.append([bill, name, self.bills.pop(bill)["amount"]])
        return f"paid {bill}"

    def set_card_limit(self, account: Account, limit: int) -> str:
        """set the card limit"""
        name = entry_name(self.accounts, account, "account")
        if limit < 0 or limit == self.accounts[name]["limit"]:
            raise ValueError(f"the limit is {self.accounts[name]['limit']}; give another, not below 0")
        self.accounts[name]["limit"] = limit
        return f"the limit of {name} is {limit}"

    def lock_card(self, account: Account, locked: bool) -> str:
        """lock or unlock a card"""
        name = entry_name(self.accounts, account, "account")
        if self.accounts[name]["locked"] == locked:
            raise ValueError(f"the card of {name} is {'locked' if locked else 'unlocked'} already")
        self.accounts[name]["locked"] = locked
        return f"{'locked' if locked else 'unlocked'} the card of {name}"

    def _withdraw(self, name: str, amount: int) -> None:
        if not 0 < amount <= self.accounts[name]["balance"]:
            raise ValueError(f"{name} has {self.accounts[name]['balance']}; the amount must be above 0 and not more")
        self.accounts[name]["balance"] -= amount
