package main

import (
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/resilience"
)

// whenAway is what each class does while Redis is away, unless RATE_LIMIT_WITHOUT_REDIS says otherwise. Every class stays
// open, as orders must not depend on what is there to make them fast. A checkout keeps its whole quota in each process; what
// can wait gets a share of it.
func whenAway() map[string]ratelimit.WhenAway {
	return map[string]ratelimit.WhenAway{
		resilience.Checkout.String(): ratelimit.Open, resilience.Browse.String(): ratelimit.Share, resilience.Rest.String(): ratelimit.Share,
	}
}

// limits makes what one caller may ask for, by class.
func (s *service) limits() (map[resilience.Class]*ratelimit.Limit, error) {
	away := whenAway()
	if err := ratelimit.ParseWhenAway(s.config.RateLimitAway, away); err != nil {
		return nil, err
	}
	limits := make(map[resilience.Class]*ratelimit.Limit)
	for _, l := range []struct {
		class    resilience.Class
		policies string
		leased   bool // has calls without a key too
	}{
		{resilience.Checkout, s.config.RateLimitCheckout, false},
		{resilience.Browse, s.config.RateLimitBrowse, true},
		{resilience.Rest, s.config.RateLimitRest, true},
	} {
		policies, err := ratelimit.Parse(l.class.String(), l.policies)
		if err != nil {
			return nil, err
		}
		limits[l.class], err = ratelimit.New(ratelimit.Options{
			Class: l.class.String(), Policies: policies, Lane: s.lane, Leased: l.leased,
			Processes: s.config.RateLimitProcesses, WhenAway: away[l.class.String()],
		})
		if err != nil {
			return nil, err
		}
	}
	return limits, nil
}

// clients makes what one application may ask for.
func (s *service) clients() (*ratelimit.Clients, error) {
	policies, err := ratelimit.ParseClients(s.config.RateLimitClients)
	if err != nil {
		return nil, err
	}
	return ratelimit.NewClients(policies, s.lane, s.config.RateLimitProcesses)
}
