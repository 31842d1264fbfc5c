package main

import (
	"fmt"
	"io"
)

// report writes what became of the mutants: a table, and the survivors.
func report(out io.Writer, packages []*pkg) {
	fmt.Fprintln(out, "| package | mutants | tried | killed | survived | dead |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|")
	for _, p := range packages {
		n := map[fate]int{}
		for _, r := range p.results {
			n[r.fate]++
		}
		fmt.Fprintf(out, "| `%s` | %d | %d | %d | %d | %d |\n", p.dir, len(p.all), len(p.results), n[killed], n[survived], n[dead])
	}
	for _, p := range packages {
		for i, r := range p.results {
			if r.fate == survived {
				fmt.Fprintf(out, "\n- %s", p.chosen[i])
			}
		}
	}
	fmt.Fprintln(out)
}
