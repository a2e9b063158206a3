"""Which model of a family keeps the rate: decisions (policy) and their clock (driver)."""
