package contracts

import (
	"fmt"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/oasdiff/oasdiff/checker"
	"github.com/oasdiff/oasdiff/diff"
	"github.com/oasdiff/oasdiff/load"
)

// stricter are what oasdiff lets pass and we don't: what an answer may lack is still what somebody reads, and another default
// is another answer to a request that didn't change.
var stricter = map[string]checker.Level{
	checker.OptionalResponseHeaderRemovedId:       checker.ERR,
	checker.ResponseOptionalPropertyRemovedId:     checker.ERR,
	checker.RequestParameterDefaultValueChangedId: checker.ERR,
	checker.RequestPropertyDefaultValueChangedId:  checker.ERR,
}

// RESTBreaks lists what breaks for a client of the released OpenAPI document, each with where it is. Warnings count: an
// operation refuses members and parameters that it doesn't know, so even what is only taken out of a request is missed.
// Of the webhooks nothing is said: an event has another reader than a request, see EventBreaks.
func RESTBreaks(released, served []byte) ([]string, error) {
	before, err := withoutEvents(released)
	if err != nil {
		return nil, fmt.Errorf("the released document: %w", err)
	}
	after, err := withoutEvents(served)
	if err != nil {
		return nil, fmt.Errorf("the served document: %w", err)
	}
	found, sources, err := diff.GetWithOperationsSourcesMap(diff.NewConfig(), &load.SpecInfo{Spec: before, Url: "released"}, &load.SpecInfo{Spec: after, Url: "served"})
	if err != nil {
		return nil, fmt.Errorf("comparing the documents: %w", err)
	}
	localize := checker.NewDefaultLocalizer()
	var breaks []string
	rules := checker.NewConfig(checker.GetAllChecks(), checker.WithSeverityLevels(stricter))
	for _, change := range checker.CheckBackwardCompatibility(rules, found, sources) {
		breaks = append(breaks, fmt.Sprintf("%s: %s %s: %s", change.GetId(), change.GetOperation(), change.GetPath(), change.GetUncolorizedText(localize)))
	}
	slices.Sort(breaks)
	return slices.Compact(breaks), nil
}

func withoutEvents(document []byte) (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("reading it: %w", err)
	}
	doc.Webhooks = nil
	return doc, nil
}
