package paging

import "slices"

// Slice is the part of a list that is asked for: so many rows after one cursor, or before the other, or between them.
type Slice struct {
	Size          int
	Backward      bool // the last rows before Before, instead of the first ones after After
	After, Before string
}

// Trim makes a page of the rows that a query found: it asked for one more than Size, backward for the nearest first.
// more says that there was that one.
func Trim[T any](s Slice, rows []T) (page []T, more bool) {
	if len(rows) > s.Size {
		rows, more = rows[:s.Size], true
	}
	if s.Backward {
		slices.Reverse(rows)
	}
	return rows, more
}
