"use strict";

// Addresses are relative to the page, so that a gateway may be mounted below another path.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  // Its default asks a server elsewhere.
  validatorUrl: null,
});
