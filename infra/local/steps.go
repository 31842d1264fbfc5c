package main

import (
	"fmt"
	"io"
	"time"
)

// steps prints what is being done, what came of it, and how long it took: one line each, whole only once the
// step is done, so that a slow one shows that it is being worked on.
type steps struct {
	out io.Writer
	now func() time.Time
}

// do runs one step. What work says on its way gets lines of its own.
func (s *steps) do(name string, work func(say func(string)) (result string, err error)) error {
	began := s.now()
	_, _ = fmt.Fprintf(s.out, "  %-18s", name) // nothing is to be done about a broken terminal
	said := false
	result, err := work(func(text string) {
		if !said {
			_, _ = fmt.Fprintln(s.out)
		}
		said = true
		_, _ = fmt.Fprintf(s.out, "    %s\n", text)
	})
	if said {
		_, _ = fmt.Fprintf(s.out, "  %-18s", "")
	}
	if err != nil {
		_, _ = fmt.Fprintln(s.out, "failed")
		return err
	}
	_, _ = fmt.Fprintf(s.out, "%-48s %6.2f s\n", result, s.now().Sub(began).Seconds())
	return nil
}
