"""Operations as data: what would be done, in which order, under which conditions. Nothing here does anything."""
