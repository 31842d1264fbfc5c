package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// profile says of each block of statements, by file and position, whether it was executed.
type profile struct {
	blocks map[string]map[string]block // by the file's import path, then "line.column,line.column"
}

type block struct {
	statements int
	executed   bool
}

// parseProfile reads the format of `go test -coverprofile`.
func parseProfile(text []byte) (*profile, error) {
	p := &profile{map[string]map[string]block{}}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "mode: ") {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%q is not a line of a coverage profile", line)
		}
		file, position, _ := strings.Cut(fields[0], ":")
		statements, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%q is not a line of a coverage profile", line)
		}
		if p.blocks[file] == nil {
			p.blocks[file] = map[string]block{}
		}
		b := p.blocks[file][position]
		p.blocks[file][position] = block{statements, b.executed || fields[2] != "0"}
	}
	return p, nil
}

// text is the profile for `go tool cover`, and the place of each file in it.
func (p *profile) text() (text []byte, index map[string]int) {
	var out bytes.Buffer
	index = map[string]int{}
	fmt.Fprintln(&out, "mode: set")
	for i, file := range slices.Sorted(maps.Keys(p.blocks)) {
		index[file] = i
		for _, position := range slices.Sorted(maps.Keys(p.blocks[file])) {
			b, hits := p.blocks[file][position], 0
			if b.executed {
				hits = 1
			}
			fmt.Fprintf(&out, "%s:%s %d %d\n", file, position, b.statements, hits)
		}
	}
	return out.Bytes(), index
}

// count is how much of something was executed.
type count struct {
	Name                 string
	Statements, Executed int
}

// Percent is the share that was executed; all of nothing is.
func (c count) Percent() float64 {
	if c.Statements == 0 {
		return 100
	}
	return 100 * float64(c.Executed) / float64(c.Statements)
}

// Left is how many statements no test executes.
func (c count) Left() int { return c.Statements - c.Executed }

func (c *count) add(statements, executed int) {
	c.Statements += statements
	c.Executed += executed
}

// totals are all counts, the worst first.
type totals struct {
	count
	Packages []packageCount
}

type packageCount struct {
	count
	Files []count
}

func (p *profile) totals() totals {
	t := totals{count: count{Name: "all"}}
	packages := map[string]*packageCount{}
	for file, blocks := range p.blocks {
		of := packageOf(file)
		if packages[of] == nil {
			packages[of] = &packageCount{count: count{Name: of}}
		}
		c := count{Name: file}
		for _, b := range blocks {
			c.Statements += b.statements
			if b.executed {
				c.Executed += b.statements
			}
		}
		packages[of].Files = append(packages[of].Files, c)
		packages[of].add(c.Statements, c.Executed)
		t.add(c.Statements, c.Executed)
	}
	for _, p := range packages {
		slices.SortFunc(p.Files, worse)
		t.Packages = append(t.Packages, *p)
	}
	slices.SortFunc(t.Packages, func(a, b packageCount) int { return worse(a.count, b.count) })
	return t
}

func worse(a, b count) int {
	return cmp.Or(cmp.Compare(a.Percent(), b.Percent()), cmp.Compare(b.Left(), a.Left()), cmp.Compare(a.Name, b.Name))
}

func packageOf(file string) string { return path.Dir(file) }

func (t totals) print(out io.Writer) {
	fmt.Fprintf(out, "\n%8s %12s %8s   package\n", "executed", "statements", "left")
	for _, p := range t.Packages {
		fmt.Fprintf(out, "%6.1f %% %12d %8d   %s\n", p.Percent(), p.Statements, p.Left(), p.Name)
	}
	fmt.Fprintf(out, "%6.1f %% %12d %8d   %s\n", t.Percent(), t.Statements, t.Left(), t.Name)
}
