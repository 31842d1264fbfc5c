package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
)

// goroutines finds those that a panic would make the end of the process: `go`, and what starts one in its place.
func goroutines(root fs.FS) (broken []string, err error) {
	files, err := goFiles(root, parser.ImportsOnly)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		top, _, _ := strings.Cut(f.dir, "/")
		if f.test || f.dir == "shared/background" || top != "functions" && top != "handler" && top != "shared" {
			continue
		}
		src, err := fs.ReadFile(root, f.path)
		if err != nil {
			return nil, err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, path.Base(f.path), src, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if says := startsOne(n); says != "" {
				broken = append(broken, fmt.Sprintf("%s:%d %s", f.path, set.Position(n.Pos()).Line, says))
			}
			return true
		})
	}
	return broken, nil
}

// startsOne says how a node starts a goroutine, "" when it doesn't or does it in the one right way.
func startsOne(n ast.Node) string {
	if _, bare := n.(*ast.GoStmt); bare {
		return "has a bare go statement"
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return ""
	}
	of, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	name := of.Sel.Name
	if on, ok := of.X.(*ast.Ident); ok {
		name = on.Name + "." + name
	}
	switch of.Sel.Name {
	case "Go": // with a name: background's
		if len(call.Args) == 1 {
			return "calls " + name
		}
	case "AfterFunc":
		return "calls " + name
	case "DoChan":
		if len(call.Args) != 2 || !caught(call.Args[1]) {
			return "calls " + name + " without background.Catch"
		}
	}
	return ""
}

func caught(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	of, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	on, ok := of.X.(*ast.Ident)
	return ok && on.Name == "background" && of.Sel.Name == "Catch"
}
