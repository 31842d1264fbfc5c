package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// edit is a change of a text, as it stands in the source.
type edit struct {
	from, to   int
	text, what string
}

var (
	isSQL = regexp.MustCompile(`\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|ORDER BY|ON CONFLICT)\b|^.\s*AND `)

	locking   = regexp.MustCompile(`FOR (NO KEY )?UPDATE( SKIP LOCKED)?`)
	skipping  = regexp.MustCompile(` SKIP LOCKED`)
	doNothing = regexp.MustCompile(`ON CONFLICT( \([^)]*\))? DO NOTHING`)
	oneMore   = regexp.MustCompile(`\+ 1\b`)

	// words of a statement, its brackets, and what is none of both: texts and comments.
	sqlTokens = regexp.MustCompile(`'[^']*'|/\*.*?\*/|--[^\n]*|[A-Za-z_]+|[()]`)
)

// word is a word of SQL, or a bracket, with the number of brackets around it.
type word struct {
	text     string
	from, to int
	depth    int
}

func sqlWords(text string) (words []word) {
	depth := 0
	for _, at := range sqlTokens.FindAllStringIndex(text, -1) {
		w := word{text[at[0]:at[1]], at[0], at[1], depth}
		switch {
		case w.text == "(":
			depth++
		case w.text == ")":
			depth--
			w.depth = depth
		case strings.HasPrefix(w.text, "'"), strings.HasPrefix(w.text, "/*"), strings.HasPrefix(w.text, "--"):
			continue
		}
		words = append(words, w)
	}
	return words
}

// What ends a list of conditions, and an ORDER BY, at its own depth.
var (
	endsConditions = strings.Fields("WHERE ORDER GROUP LIMIT FOR RETURNING UNION ON JOIN CROSS LEFT ELSE THEN END")
	endsOrder      = strings.Fields("LIMIT FOR RETURNING UNION ON ROWS")
)

// sqlEdits are the changes of a Go string literal that holds SQL, or a piece of it: each condition made true, each lock, order
// and answer to a conflict left out, each step of one made none.
func sqlEdits(literal string) (edits []edit) {
	if !isSQL.MatchString(literal) || strings.Contains(literal, "redis.call") {
		return nil
	}
	words := sqlWords(literal)
	for i, w := range words {
		switch {
		case w.text == "WHERE", w.text == "ON" && i+1 < len(words) && words[i+1].text != "CONFLICT":
			edits = append(edits, conditions(literal, words[i+1:], w.to, w.depth)...)
		case w.text == "AND" && i == 0: // a piece that goes on with somebody's conditions
			edits = append(edits, conditions(literal, words[1:], w.to, w.depth)...)
		case w.text == "ORDER":
			end := clauseEnd(literal, words[i+1:], w.depth, endsOrder)
			edits = append(edits, edit{w.from, end, " ", without(literal[w.from:end])})
		}
	}
	for _, rule := range []*regexp.Regexp{locking, skipping, doNothing} {
		for _, at := range rule.FindAllStringIndex(literal, -1) {
			edits = append(edits, edit{at[0], at[1], "", without(literal[at[0]:at[1]])})
		}
	}
	for _, at := range oneMore.FindAllStringIndex(literal, -1) {
		edits = append(edits, edit{at[0], at[1], "+ 0", fmt.Sprintf("`+ 0` after `%s`", short(literal[lineStart(literal, at[0]):at[0]]))})
	}
	return edits
}

// conditions makes each of some conditions true, and keeps it in the statement, whose arguments would lose their types.
func conditions(literal string, words []word, from, depth int) (edits []edit) {
	end := clauseEnd(literal, words, depth, endsConditions)
	between := false
	add := func(to int) {
		text := literal[from:to]
		if one := strings.TrimSpace(text); one != "" {
			at := from + strings.Index(text, one)
			edits = append(edits, edit{at, at + len(one), "(" + one + " OR TRUE)", without(one)})
		}
	}
	for _, w := range words {
		if w.from >= end || w.depth != depth {
			continue
		}
		switch {
		case w.text == "BETWEEN":
			between = true
		case w.text == "AND" && between:
			between = false
		case w.text == "AND":
			add(w.from)
			from = w.to
		}
	}
	add(end)
	return edits
}

// clauseEnd is where a clause ends: at the bracket that closes around it, at a word of its depth, or with the text.
func clauseEnd(literal string, words []word, depth int, ends []string) int {
	for _, w := range words {
		if w.depth < depth || w.depth == depth && slices.Contains(ends, w.text) {
			return w.from
		}
	}
	return len(literal) - 1 // the quote
}

func without(text string) string { return fmt.Sprintf("without `%s`", short(text)) }

func lineStart(text string, at int) int { return strings.LastIndexByte(text[:at], '\n') + 1 }

var (
	luaCall = regexp.MustCompile(`(?m)^[ \t]*redis\.call\(.*\)$`)
	luaIf   = regexp.MustCompile(`\b(?:else)?if (.+?) then\b`)
)

// luaEdits are those of a script for Redis: each command whose answer nobody reads left out, each condition made false.
func luaEdits(literal string) (edits []edit) {
	if !strings.Contains(literal, "redis.call") && !strings.Contains(literal, " then\n") {
		return nil
	}
	for _, at := range luaCall.FindAllStringIndex(literal, -1) {
		edits = append(edits, edit{at[0], at[1], "", without(literal[at[0]:at[1]])})
	}
	for _, at := range luaIf.FindAllStringSubmatchIndex(literal, -1) {
		edits = append(edits, edit{at[2], at[3], "false", fmt.Sprintf("never `%s`", short(literal[at[2]:at[3]]))})
	}
	return edits
}
