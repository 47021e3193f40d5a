// unfold's charts write their scales in a grey that is too faint on white, the same in the dark theme, and numbers with
// all digits of their rounding errors. This sets the theme's own colour for texts, once the charts are drawn and
// whenever the theme changes, and rounds the numbers.

function rounded(value) {
  const unit = this.chart.data.datasets.find((each) => each.suffixYAxis)?.suffixYAxis;
  const number = Number(value.toPrecision(6)).toLocaleString("en");
  return unit ? `${number} ${unit}` : number;
}

const paint = () => {
  const root = document.documentElement;
  const name = root.classList.contains("dark") ? "--color-base-300" : "--color-base-600";
  const colour = getComputedStyle(root).getPropertyValue(name).trim();
  for (const chart of Object.values(Chart.instances)) {
    for (const scale of Object.values(chart.options.scales)) {
      scale.ticks.color = colour;
    }
    chart.options.scales.y.ticks.callback = rounded;
    chart.update("none");
  }
};

window.addEventListener("load", () => {
  paint();
  new MutationObserver(paint).observe(document.documentElement, { attributeFilter: ["class"] });
});
