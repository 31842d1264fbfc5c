package engine

import (
	"errors"
	"fmt"

	"github.com/graphql-go/graphql/gqlerrors"
	"github.com/graphql-go/graphql/language/ast"
	"github.com/graphql-go/graphql/language/lexer"
	"github.com/graphql-go/graphql/language/source"
)

// scan reads a document's tokens and nothing else: the parser calls itself once per brace, and deep enough nesting
// ends the process. What it lets through is small, so that the parser and the rules after it have little to do.
func (l Limits) scan(query string) *Refusal {
	if len(query) > l.Bytes {
		return refuse(Validating, CodeTooLarge, fmt.Sprintf("The document has %d bytes, at most %d are allowed.", len(query), l.Bytes))
	}
	next := lexer.Lex(source.NewSource(&source.Source{Body: []byte(query), Name: "GraphQL request"}))
	tokens, nesting, parens := 0, 0, 0
	var before, last lexer.Token // null is a value or a name by what is around it
	for {
		token, err := next(0)
		if err != nil {
			return unreadable(err)
		}
		switch token.Kind {
		case lexer.EOF:
			return nil
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
		}
		if parens > 0 && last.Kind == lexer.NAME && last.Value == "null" && token.Kind != lexer.COLON && before.Kind != lexer.DOLLAR {
			// The parser would only say "unexpected name".
			return refuse(Parsing, CodeParse, "The literal null is not supported: leave the argument out, or send null as a variable's value.")
		}
		before, last = last, token
		if tokens++; tokens > l.Tokens {
			return refuse(Validating, CodeTooLarge, fmt.Sprintf("The document has more than %d tokens.", l.Tokens))
		}
		if nesting > l.Nesting {
			return refuse(Validating, CodeTooLarge, fmt.Sprintf("The document is nested deeper than %d.", l.Nesting))
		}
	}
}

// unreadable is a syntax error.
func unreadable(err error) *Refusal {
	var syntax *gqlerrors.Error
	if errors.As(err, &syntax) {
		return &Refusal{Parsing, []*Error{{Message: firstLine(syntax.Message), Locations: syntax.Locations, Code: CodeParse}}}
	}
	return refuse(Parsing, CodeParse, "The document cannot be read.")
}

// firstLine leaves out the library's drawing of the place, which quotes the document.
func firstLine(s string) string {
	for i := range len(s) {
		if s[i] == '\n' {
			return s[:i]
		}
	}
	return s
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
			if f := g.fragments[s.Name.Value]; f != nil { // else validation says so
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
