// The site's formulas are plain TeX in elements of class "math"; KaTeX sets them when the page has loaded. A display that is wider
// than its column is set smaller, down to LEAST of its size; what is still wider scrolls.
const LEAST = 0.65;
document.addEventListener("DOMContentLoaded", () => {
  for (const element of document.querySelectorAll("span.math, div.math")) {
    katex.render(element.textContent, element, { displayMode: element.tagName === "DIV", throwOnError: false });
  }
  const fit = () => {
    for (const element of document.querySelectorAll("div.math")) {
      element.style.fontSize = "";
      const part = element.clientWidth / element.scrollWidth;
      if (part < 1) element.style.fontSize = `${Math.max(LEAST, 0.99 * part)}em`;
      element.classList.toggle("wide", element.scrollWidth > element.clientWidth);
    }
  };
  document.fonts.ready.then(fit);
  window.addEventListener("resize", fit);
});
