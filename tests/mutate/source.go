package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strings"
)

// mutant is one change of a source file: text in place of the bytes from..to.
type mutant struct {
	file     string
	line     int
	in       string // the function, or the constant
	what     string
	from, to int
	text     string
}

// String is the mutant's line.
func (m mutant) String() string { return fmt.Sprintf("%s:%d %s: %s", m.file, m.line, m.in, m.what) }

// apply is the file with the change made.
func (m mutant) apply(text []byte) []byte {
	return []byte(string(text[:m.from]) + m.text + string(text[m.to:]))
}

// finder collects the mutants of one file.
type finder struct {
	file  string
	text  []byte
	files *token.FileSet
	in    string
	found []mutant
}

// mutants are all changes that are known for a file.
func mutants(file string, text []byte) ([]mutant, error) {
	f := finder{file: file, text: text, files: token.NewFileSet()}
	tree, err := parser.ParseFile(f.files, file, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("reading a file to break: %w", err)
	}
	for _, d := range tree.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			f.in = d.Name.Name
			if d.Body != nil {
				f.function(d.Type, d.Body)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					f.in = v.Names[0].Name
					ast.Inspect(v, func(n ast.Node) bool { f.literal(n); return true })
				}
			}
		}
	}
	return f.found, nil
}

// swaps are what an operator becomes.
var swaps = map[token.Token]string{
	token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">", token.EQL: "!=", token.NEQ: "==",
	token.LAND: "||", token.LOR: "&&", token.ADD: "-", token.SUB: "+",
}

// function goes through a body; functions inside of it have results of their own.
func (f *finder) function(of *ast.FuncType, body *ast.BlockStmt) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			f.function(n.Type, n.Body)
			return false
		case *ast.BinaryExpr:
			f.operator(n)
		case *ast.IfStmt:
			f.never(n.Cond)
		case *ast.SwitchStmt:
			f.cases(n)
		case *ast.BlockStmt:
			f.statements(n.List)
		case *ast.CaseClause:
			f.statements(n.Body)
		case *ast.CommClause:
			f.statements(n.Body)
		case *ast.ReturnStmt:
			f.swallow(of, n)
		default:
			f.literal(n)
		}
		return true
	})
}

// operator swaps one. Whether something is nil is left alone: a test that gets so far fails there at once. So are texts, which
// can't be subtracted.
func (f *finder) operator(e *ast.BinaryExpr) {
	to, ok := swaps[e.Op]
	if !ok || isNil(e.X) || isNil(e.Y) || isText(e.X) || isText(e.Y) {
		return
	}
	f.add(e.OpPos, e.OpPos+token.Pos(len(e.Op.String())), to, fmt.Sprintf("`%s` for `%s` in `%s`", to, e.Op, f.source(e)))
}

// never makes a condition false whatever it says.
func (f *finder) never(cond ast.Expr) {
	if !f.tells(cond) {
		f.add(cond.Pos(), cond.End(), "false && ("+f.whole(cond)+")", fmt.Sprintf("never `%s`", f.source(cond)))
	}
}

// cases treats the cases of a switch without a value as the conditions that they are.
func (f *finder) cases(s *ast.SwitchStmt) {
	if s.Tag != nil {
		return
	}
	for _, c := range s.Body.List {
		for _, cond := range c.(*ast.CaseClause).List { //nolint:forcetypeassert // a switch has nothing else
			f.never(cond)
		}
	}
}

// statements leaves out those that only have an effect. They stay in sight of the compiler, which would miss what they use.
func (f *finder) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				continue
			}
			if id, ok := s.Lhs[0].(*ast.Ident); ok && id.Name == "_" {
				continue
			}
		case *ast.ExprStmt, *ast.DeferStmt, *ast.GoStmt, *ast.IncDecStmt, *ast.SendStmt:
		default:
			continue
		}
		if !f.tells(s) {
			f.add(s.Pos(), s.End(), "if false { "+f.whole(s)+" }", fmt.Sprintf("without `%s`", f.source(s)))
		}
	}
}

// swallow returns nil in the place of an error.
func (f *finder) swallow(of *ast.FuncType, s *ast.ReturnStmt) {
	if of.Results == nil || len(s.Results) != of.Results.NumFields() {
		return
	}
	kinds := of.Results.List
	if id, ok := kinds[len(kinds)-1].Type.(*ast.Ident); !ok || id.Name != "error" {
		return
	}
	last := s.Results[len(s.Results)-1]
	switch e := last.(type) {
	case *ast.Ident:
		if e.Name == "nil" {
			return
		}
	case *ast.SelectorExpr:
	case *ast.CallExpr:
		if made := f.source(e.Fun); made != "fmt.Errorf" && !strings.HasPrefix(made, "errors.") {
			return // it does something besides
		}
	default:
		return
	}
	f.add(last.Pos(), last.End(), "nil", fmt.Sprintf("nil for the error in `%s`", f.source(s)))
}

// literal looks for SQL and Lua in a text.
func (f *finder) literal(n ast.Node) {
	lit, ok := n.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return
	}
	for _, e := range append(sqlEdits(lit.Value), luaEdits(lit.Value)...) {
		f.add(lit.Pos()+token.Pos(e.from), lit.Pos()+token.Pos(e.to), e.text, e.what)
	}
}

// said is what only tells people what happens, or gives memory back that would be given back anyway.
var said = regexp.MustCompile(`(?i)\b(logger|slog|metrics?|span|telemetry|trace|latency|cancel|rows\.Close|timeout\.Stop)\b`)

func (f *finder) tells(n ast.Node) bool { return said.MatchString(f.whole(n)) }

func (f *finder) add(from, to token.Pos, text, what string) {
	at := f.files.Position(from)
	f.found = append(f.found, mutant{
		file: f.file, line: at.Line, in: f.in, what: what, from: at.Offset, to: f.files.Position(to).Offset, text: text,
	})
}

func (f *finder) whole(n ast.Node) string {
	return string(f.text[f.files.Position(n.Pos()).Offset:f.files.Position(n.End()).Offset])
}

// source is a node's text on one short line.
func (f *finder) source(n ast.Node) string { return short(f.whole(n)) }

func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 90 {
		return string(r[:89]) + "…"
	}
	return text
}

func isNil(e ast.Expr) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == "nil"
}

func isText(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit:
		return e.Kind == token.STRING
	case *ast.BinaryExpr:
		return e.Op == token.ADD && (isText(e.X) || isText(e.Y))
	}
	return false
}
