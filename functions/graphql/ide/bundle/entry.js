// What the page uses of the packages, under one name.
import * as React from "react";
import { createRoot } from "react-dom/client";
import { GraphiQL } from "graphiql";

window.GraphiQLBundle = { React, createRoot, GraphiQL };
