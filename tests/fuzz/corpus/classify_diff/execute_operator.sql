EXECUTE p(@@ 1)
