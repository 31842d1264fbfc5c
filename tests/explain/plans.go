package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// node is a node of a plan as EXPLAIN (FORMAT JSON) prints it.
type node struct {
	Type     string  `json:"Node Type"`
	Relation string  `json:"Relation Name"`
	Index    string  `json:"Index Name"`
	Removed  int     `json:"Subplans Removed"`
	Loops    float64 `json:"Actual Loops"`
	Plans    []node  `json:"Plans"`
}

// plan is what auto_explain logs.
type plan struct {
	Text string `json:"Query Text"`
	Root node   `json:"Plan"`
}

// logged finds a plan in a line of the server's log in JSON.
func logged(line string) (p plan, raw string, ok bool) {
	var entry struct{ Message string }
	if json.Unmarshal([]byte(line), &entry) != nil {
		return plan{}, "", false
	}
	_, raw, ok = strings.Cut(entry.Message, "plan:\n")
	if !ok || json.Unmarshal([]byte(raw), &p) != nil {
		return plan{}, "", false
	}
	return p, raw, true
}

var named = regexp.MustCompile(`^\s*/\* ([A-Za-z.]+) \*/`)

// name is a statement's name, "" when it has none.
func name(sql string) string {
	if m := named.FindStringSubmatch(sql); m != nil {
		return m[1]
	}
	return ""
}

// partitionOf finds what tells a partition's name from its parent's.
var partitionOf = regexp.MustCompile(`_(\d{6,8})(_|$)`)

func parent(table string) string { return partitionOf.ReplaceAllString(table, "$2") }

// access is how a plan reaches the tables, in a few words: each index or table once, with the number of partitions.
// A table with few rows is read whole by any sensible plan, and is called small.
func (p plan) access(rows map[string]float64, few float64) string {
	var order []string
	counts := map[string]int{}
	removed := 0
	p.Root.walk(func(n node) {
		removed += n.Removed
		var what string
		switch {
		case n.Index != "":
			what = strings.TrimSuffix(parent(n.Index), "_idx")
		case n.Type == "Seq Scan" && rows[n.Relation] <= few:
			what = "small " + parent(n.Relation)
		case n.Type == "Seq Scan":
			what = "ALL of " + parent(n.Relation)
		default:
			return
		}
		if counts[what] == 0 {
			order = append(order, what)
		}
		counts[what]++
	})
	for i, what := range order {
		if counts[what] > 1 {
			order[i] = fmt.Sprintf("%s x%d", what, counts[what])
		}
	}
	if removed > 0 {
		order = append(order, fmt.Sprintf("%d partitions pruned", removed))
	}
	if len(order) == 0 {
		return "no table"
	}
	return strings.Join(order, ", ")
}

// wholes names the tables with more than few rows that the plan reads from end to end.
func (p plan) wholes(rows map[string]float64, few float64) (list []string) {
	p.Root.walk(func(n node) {
		if n.Type == "Seq Scan" && n.Loops > 0 && rows[n.Relation] > few && !slices.Contains(list, n.Relation) {
			list = append(list, n.Relation)
		}
	})
	return list
}

func (n node) walk(visit func(node)) {
	visit(n)
	for _, child := range n.Plans {
		child.walk(visit)
	}
}
