package engine

import (
	"errors"
	"fmt"
	"strings"

	"github.com/graphql-go/graphql/gqlerrors"
	"github.com/graphql-go/graphql/language/ast"
	"github.com/graphql-go/graphql/language/lexer"
	"github.com/graphql-go/graphql/language/location"
	"github.com/graphql-go/graphql/language/source"
)

// scan reads a document's tokens and nothing else: the parser calls itself once per brace, and deep enough nesting
// ends the process. What it lets through is small, so that the parser and the rules after it have little to do. It
// returns the text for them, see lined.
func (l Limits) scan(query string) ([]byte, *Refusal) {
	if len(query) > l.Bytes {
		return nil, refuse(Validating, CodeTooLarge, fmt.Sprintf("The document has %d bytes, at most %d are allowed.", len(query), l.Bytes))
	}
	body, refusal := l.lined(query)
	if refusal != nil {
		return nil, refusal
	}
	next := lexer.Lex(&source.Source{Body: body})
	tokens, nesting, parens := 0, 0, 0
	var before, last lexer.Token // null is a value or a name by what is around it
	for {
		token, err := next(0)
		if err != nil {
			return nil, unreadable(query, err)
		}
		if parens > 0 && last.Kind == lexer.NAME && last.Value == "null" && token.Kind != lexer.COLON && before.Kind != lexer.DOLLAR {
			// The parser would only say "unexpected name".
			return nil, refuse(Parsing, CodeParse, "The literal null is not supported: leave the argument out, or send null as a variable's value.")
		}
		switch token.Kind {
		case lexer.EOF:
			return body, nil
		case lexer.BRACE_L, lexer.BRACKET_L:
			nesting++
		case lexer.PAREN_L:
			nesting++
			parens++
		case lexer.BRACE_R, lexer.BRACKET_R:
			nesting--
		case lexer.PAREN_R:
			nesting--
			parens--
		default:
		}
		before, last = last, token
		if tokens++; tokens > l.Tokens {
			return nil, refuse(Validating, CodeTooLarge, fmt.Sprintf("The document has more than %d tokens.", l.Tokens))
		}
		if nesting > l.Nesting {
			return nil, refuse(Validating, CodeTooLarge, fmt.Sprintf("The document is nested deeper than %d.", l.Nesting))
		}
	}
}

// lineWidth is where lined breaks a line when it can.
const lineWidth = 200

// lined is the document with a new line for a blank now and then, so that no line is long: the library draws the place
// of a syntax error with a blank for each column before it, one by one, and would take a quarter of a second for it at
// the end of 30 KB. No byte moves. A text, or a stretch without a blank, that is too long for this is refused.
func (l Limits) lined(query string) ([]byte, *Refusal) {
	body, column := []byte(query), 0
	for i := 0; i < len(body); i++ {
		column++
		switch body[i] {
		case '\n', '\r':
			column = 0
		case ' ', '\t', ',':
			if column > lineWidth {
				body[i], column = '\n', 0
			}
		case '#':
			for i+1 < len(body) && body[i+1] != '\n' && body[i+1] != '\r' {
				i++
			}
		case '"':
			n := textLength(query[i:])
			if n == 0 {
				return nil, &Refusal{Parsing, []*Error{{Message: "A text is not ended.", Locations: []location.SourceLocation{placeOf(query, i)}, Code: CodeParse}}}
			}
			if n > l.Text {
				return nil, refuse(Validating, CodeTooLarge, fmt.Sprintf("A text in the document has more than %d bytes: send it as a variable.", l.Text))
			}
			i += n - 1
			column += n - 1
		}
		if column > 2*l.Text {
			return nil, refuse(Validating, CodeTooLarge, fmt.Sprintf("The document has more than %d bytes without a blank.", 2*l.Text))
		}
	}
	return body, nil
}

// textLength is the length of the text that s begins with, quotes included; 0 when it has no end.
func textLength(s string) int {
	if strings.HasPrefix(s, `"""`) {
		for i := 3; i < len(s); i++ {
			if strings.HasPrefix(s[i:], `\"""`) {
				i += 3
			} else if strings.HasPrefix(s[i:], `"""`) {
				return i + 3
			}
		}
		return 0
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		case '\n', '\r':
			return 0
		}
	}
	return 0
}

// placeOf is the line and column of a byte.
func placeOf(query string, at int) location.SourceLocation {
	before := query[:min(max(at, 0), len(query))]
	before = strings.ReplaceAll(before, "\r\n", "\n")
	before = strings.ReplaceAll(before, "\r", "\n")
	return location.SourceLocation{Line: 1 + strings.Count(before, "\n"), Column: len(before) - strings.LastIndexByte(before, '\n')}
}

// unreadable is a syntax error. The library's text begins with a place of its own counting and ends in a drawing that
// quotes the document.
func unreadable(query string, err error) *Refusal {
	var syntax *gqlerrors.Error
	if !errors.As(err, &syntax) {
		return refuse(Parsing, CodeParse, "The document cannot be read.")
	}
	message, _, _ := strings.Cut(syntax.Message, "\n")
	if _, after, ok := strings.Cut(message, ") "); ok {
		message = after
	}
	return &Refusal{Parsing, []*Error{{Message: "Syntax error: " + message, Locations: placesOf(query, syntax.Positions), Code: CodeParse}}}
}

func placesOf(query string, positions []int) (list []location.SourceLocation) {
	for _, at := range positions {
		list = append(list, placeOf(query, at))
	}
	return list
}

// extent is what a selection comes to with its fragments expanded.
type extent struct{ fields, depth int }

// guard measures a parsed document. It must end, quickly, whatever fragments do: each is measured once.
type guard struct {
	Limits
	fragments map[string]*ast.FragmentDefinition
	known     map[string]extent
	open      map[string]bool // fragments being measured: to meet one again is a cycle
	aliases   int
	spreads   int
}

// check refuses documents that validation or planning would take too long over.
func (l Limits) check(doc *ast.Document) *Refusal {
	g := guard{Limits: l, fragments: map[string]*ast.FragmentDefinition{}, known: map[string]extent{}, open: map[string]bool{}}
	var operations []*ast.OperationDefinition
	for _, node := range doc.Definitions {
		switch n := node.(type) {
		case *ast.OperationDefinition:
			operations = append(operations, n)
			if len(n.VariableDefinitions) > l.Variables {
				return tooMuch("variables", l.Variables, n)
			}
			if r := g.directives(n.Directives, n); r != nil {
				return r
			}
		case *ast.FragmentDefinition:
			g.fragments[n.Name.Value] = n
			if len(g.fragments) > l.Fragments {
				return tooMuch("fragments", l.Fragments, n)
			}
		default:
			return refuse(Validating, CodeInvalid, "A request holds operations and fragments only.", node)
		}
	}
	if len(operations) > l.Operations {
		return tooMuch("operations", l.Operations, operations[l.Operations])
	}
	total := 0
	for _, op := range operations {
		e, r := g.measure(op.SelectionSet)
		if r != nil {
			return r
		}
		if e.depth > l.Depth {
			return tooMuch("levels of fields", l.Depth, op)
		}
		total += e.fields
		if total > l.Fields {
			return tooMuch("fields, with fragments expanded,", l.Fields, op)
		}
		if r := g.siblings([]*ast.SelectionSet{op.SelectionSet}); r != nil {
			return r
		}
		if op.Operation == "mutation" {
			if roots := g.roots(op.SelectionSet); roots > l.RootFields {
				return tooMuch("fields of a mutation", l.RootFields, op)
			}
		}
	}
	for _, f := range g.fragments { // each for itself, and also if nobody spreads it: validation does so too
		e, r := g.fragment(f)
		if r != nil {
			return r
		}
		if total += e.fields; total > 2*l.Fields {
			return tooMuch("fields in fragments, expanded,", l.Fields, f)
		}
		if r := g.siblings([]*ast.SelectionSet{f.SelectionSet}); r != nil {
			return r
		}
	}
	return nil
}

func tooMuch(what string, limit int, node ast.Node) *Refusal {
	return refuse(Validating, CodeTooLarge, fmt.Sprintf("There are more than %d %s.", limit, what), node)
}

func (g *guard) measure(set *ast.SelectionSet) (e extent, r *Refusal) {
	if set == nil {
		return extent{}, nil
	}
	for _, selection := range set.Selections {
		var inner extent
		switch s := selection.(type) {
		case *ast.Field:
			if s.Alias != nil {
				if g.aliases++; g.aliases > g.Aliases {
					return e, tooMuch("aliases", g.Aliases, s)
				}
			}
			if r = g.directives(s.Directives, s); r != nil {
				return e, r
			}
			if len(s.Arguments) > g.Arguments {
				return e, tooMuch("arguments at one place", g.Arguments, s)
			}
			if inner, r = g.measure(s.SelectionSet); r != nil {
				return e, r
			}
			inner.fields++
			inner.depth++
		case *ast.InlineFragment:
			if r = g.directives(s.Directives, s); r != nil {
				return e, r
			}
			if inner, r = g.measure(s.SelectionSet); r != nil {
				return e, r
			}
		case *ast.FragmentSpread:
			if g.spreads++; g.spreads > g.Spreads {
				return e, tooMuch("fragment spreads", g.Spreads, s)
			}
			if r = g.directives(s.Directives, s); r != nil {
				return e, r
			}
			inner.fields = 1 // an unknown one too, which validation refuses: what is doubled must add up to something
			if f := g.fragments[s.Name.Value]; f != nil {
				if inner, r = g.fragment(f); r != nil {
					return e, r
				}
			}
		}
		e.fields, e.depth = e.fields+inner.fields, max(e.depth, inner.depth)
		if e.fields > g.Fields {
			return e, tooMuch("fields, with fragments expanded,", g.Fields, set)
		}
	}
	return e, nil
}

func (g *guard) fragment(f *ast.FragmentDefinition) (extent, *Refusal) {
	name := f.Name.Value
	if e, ok := g.known[name]; ok {
		return e, nil
	}
	if g.open[name] {
		return extent{}, refuse(Validating, CodeInvalid, fmt.Sprintf("The fragment %q spreads itself.", name), f)
	}
	g.open[name] = true
	e, r := g.measure(f.SelectionSet)
	delete(g.open, name)
	g.known[name] = e
	return e, r
}

// directives are few at one place, and each there once: what two of a kind mean, nobody says.
func (g *guard) directives(list []*ast.Directive, at ast.Node) *Refusal {
	if len(list) > g.Directives {
		return tooMuch("directives at one place", g.Directives, at)
	}
	for i, d := range list {
		if len(d.Arguments) > g.Arguments {
			return tooMuch("arguments at one place", g.Arguments, at)
		}
		for _, other := range list[:i] {
			if other.Name.Value == d.Name.Value {
				return refuse(Validating, CodeInvalid, fmt.Sprintf("The directive @%s is there twice.", d.Name.Value), at)
			}
		}
	}
	return nil
}

// siblings bounds how many fields come together under one response name: validation compares each two of them, and what
// is below them again. It looks at what measure has bounded.
func (g *guard) siblings(sets []*ast.SelectionSet) *Refusal {
	together := map[string][]*ast.Field{}
	for _, set := range sets {
		g.gather(set, together)
	}
	for _, fields := range together {
		if len(fields) > g.Siblings {
			return tooMuch("fields of one name in one place", g.Siblings, fields[g.Siblings])
		}
		var below []*ast.SelectionSet
		for _, f := range fields {
			if f.SelectionSet != nil {
				below = append(below, f.SelectionSet)
			}
		}
		if len(below) > 0 {
			if r := g.siblings(below); r != nil {
				return r
			}
		}
	}
	return nil
}

func (g *guard) gather(set *ast.SelectionSet, into map[string][]*ast.Field) {
	for _, selection := range set.Selections {
		switch s := selection.(type) {
		case *ast.Field:
			name := responseName(s)
			into[name] = append(into[name], s)
		case *ast.InlineFragment:
			g.gather(s.SelectionSet, into)
		case *ast.FragmentSpread:
			if f := g.fragments[s.Name.Value]; f != nil {
				g.gather(f.SelectionSet, into)
			}
		}
	}
}

// roots counts a selection's own fields.
func (g *guard) roots(set *ast.SelectionSet) int {
	together := map[string][]*ast.Field{}
	g.gather(set, together)
	return len(together)
}

func responseName(f *ast.Field) string {
	if f.Alias != nil {
		return f.Alias.Value
	}
	return f.Name.Value
}
