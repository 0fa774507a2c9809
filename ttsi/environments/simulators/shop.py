"""A shop with a catalogue, one basket and orders.

Inputs: a state with the tables `catalogue`, `basket` and `orders`. Outputs: the tools of `Shop`. The paper
(arXiv:2510.07841) has no environments.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ttsi.environments.simulators.simulator import Simulator, entry_name, plain


class Shop(Simulator):
    """A basket that is filled from a catalogue and sent to an address; prices in whole euros."""

    TOOLS: ClassVar[tuple[str, ...]] = (
        "find_products",
        "put_in_basket",
        "remove_from_basket",
        "show_basket",
        "order_basket",
    )
    catalogue: dict[str, dict[str, Any]]
    """Product -> brand and price."""
    basket: dict[str, int]
    """Product -> quantity."""
    orders: list[dict[str, Any]]
    """Items, address and express, oldest first."""

    def find_products(self, brand: str) -> list[dict[str, Any]]:
        """find all products of a brand"""
        maker = entry_name({product["brand"] for product in self.catalogue.values()}, brand, "brand")
        names = [name for name in sorted(self.catalogue) if self.catalogue[name]["brand"] == maker]
        return [{"product": name, "price": self.catalogue[name]["price"]} for name in names]

    def put_in_basket(self, product: str, quantity: int) -> str:
        """put a product in the basket"""
        name = entry_name(self.catalogue, product, "product")
        if not 1 <= quantity <= 99:
            raise ValueError("the quantity must be from 1 to 99")
        if self.basket.get(name) == quantity:
            raise ValueError(f"there are {quantity} {name} in the basket already")
        self.basket[name] = quantity
        return f"{quantity} {name} in the basket"

    def remove_from_basket(self, product: str) -> str:
        """remove a product"""
        name = entry_name(self.basket, product, "product in the basket:")
        del self.basket[name]
        return f"removed {name}"

    def show_basket(self) -> list[dict[str, Any]]:
        """show the basket"""
        return [
            {"product": name, "quantity": self.basket[name], "price": self.catalogue[name]["price"]}
            for name in sorted(self.basket)
        ]

    def order_basket(self, address: str, express: bool = False) -> str:
        """order everything to an address"""
        if not self.basket:
            raise ValueError("the basket is empty")
        self.orders.append({"items": self.basket, "address": plain(address), "express": express})
        self.basket = {}
        return f"ordered to {plain(address)}"
