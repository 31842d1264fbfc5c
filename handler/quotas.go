package main

import (
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/resilience"
)

// limits makes what one caller may ask for, by class. The table also declares what each class does while Redis is away:
// every class stays open, as orders must not depend on what is there to make them fast. A checkout keeps its whole quota
// in each process; what can wait gets a share of it.
func (s *service) limits() (map[resilience.Class]*ratelimit.Limit, error) {
	limits := make(map[resilience.Class]*ratelimit.Limit)
	for _, l := range []struct {
		class    resilience.Class
		policies string
		whenAway ratelimit.WhenAway
		leased   bool // has calls without a key too
	}{
		{resilience.Checkout, s.config.RateLimitCheckout, ratelimit.Open, false},
		{resilience.Browse, s.config.RateLimitBrowse, ratelimit.Share, true},
		{resilience.Rest, s.config.RateLimitRest, ratelimit.Share, true},
	} {
		policies, err := ratelimit.Parse(l.class.String(), l.policies)
		if err != nil {
			return nil, err
		}
		limits[l.class], err = ratelimit.New(ratelimit.Options{
			Class: l.class.String(), Policies: policies, Lane: s.lane, Leased: l.leased,
			Processes: s.config.RateLimitProcesses, WhenAway: l.whenAway,
		})
		if err != nil {
			return nil, err
		}
	}
	return limits, nil
}
